/* Keeps QEMU's main loop and its virtual CPU in lockstep. Preloaded into QEMU; see lockstep.py.
 *
 * With `-icount sleep=off` the main loop moves the virtual clock over idle time as soon as it
 * finds every virtual CPU halted. A virtual CPU marks itself halted a moment before it has
 * accounted for the instructions that it executed; a main loop that looks in that moment jumps
 * from a clock that is late, and what follows is another history.
 *
 * Here the main loop gets QEMU's big lock only while the virtual CPU's thread sleeps, waiting to
 * be kicked: it has accounted for all by then. Once kicked it counts as awake, though it may not
 * run yet. So no two of them ever work at the same time, and when each gets its turn does not
 * depend on the host's scheduler.
 *
 * A loop that may not work need not wake either. While the virtual CPU works, it sets timers some
 * ten thousand times a second, and for each QEMU wakes its main loop and its monitor's thread, on
 * the one CPU that they share with it. So the main loop does not look for what is new before it is
 * its turn, and the monitor's thread looks after nothing but its socket for a while. And whoever
 * hands over does so to the end (SCHED_BATCH): the other one would take the CPU away when it is
 * woken, only to wait for a lock that is not let go of yet.
 *
 * Nobody tells us which lock and which thread these are, so they are known by what they do: the
 * main loop waits with the big lock for the virtual CPU's thread to be there, before anything
 * runs; the thread that then waits with the same lock is the virtual CPU's.
 *
 * No headers are included: the compiler that comes along has none of a C library's.
 */

typedef struct { long space[5]; } mutex_t; /* as large as glibc's on x86-64, 0 when initialised */
typedef struct { long space[6]; } cond_t;
typedef struct { long seconds, nanoseconds; } timespec_t;
typedef struct { int descriptor; short wanted, found; } pollfd_t;
typedef unsigned long thread_t;

extern char *getenv(const char *name);
extern int unsetenv(const char *name);
extern int open(const char *path, int flags, ...);
extern int close(int descriptor);
extern void *mmap(void *at, unsigned long size, int protection, int flags, int file, long offset);
extern void *dlvsym(void *handle, const char *name, const char *version);
extern thread_t pthread_self(void);
extern int sched_getscheduler(int process);
extern int sched_setscheduler(int process, int policy, const int *priority);
extern int pthread_getcpuclockid(thread_t thread, int *clock);
extern int pthread_cond_clockwait(cond_t *, mutex_t *, int clock, const timespec_t *until);
extern int poll(pollfd_t *, unsigned long count, int milliseconds);
extern int getsockopt(int descriptor, int level, int option, void *value, unsigned *length);
extern int clock_gettime(int clock, timespec_t *time);
extern void abort(void);

#define RTLD_NEXT ((void *)-1L)
#define O_RDWR 2
#define O_CLOEXEC 02000000
#define PROT_READ_WRITE 3
#define MAP_SHARED 1
#define MAP_FAILED ((void *)-1L)
#define CLOCK_MONOTONIC 1
#define SCHED_OTHER 0
#define SCHED_BATCH 3
#define SOL_SOCKET 1
#define SO_TYPE 3
#define NULL ((void *)0)

#define VARIABLE "SWARM_CHAOS_LOCKSTEP" /* the file behind `told`; without it nothing is done */
#define CANDIDATES 8
#define WATCHED 8                    /* descriptors that the monitor's thread looks after, at most */
#define REST 20                      /* milliseconds that it looks after its socket alone */

/* Seconds of the virtual CPU's work, then the main loop goes first. More than any work without a
 * pause: with an engine of 2020 a deployment is 25 virtual seconds, and a slow host makes minutes
 * of that. A guest that hangs is killed, and for that no main loop has to work. */
#define PATIENCE 3600

/* What others can read of this while QEMU runs. Layout: lockstep.py. */
static struct {
    long known;       /* 1 once lock and thread are known */
    long turns;       /* how often the main loop had its turn */
    long out_of_turn; /* how often it went while the virtual CPU was at work */
} *told;

static int (*real_lock)(mutex_t *);
static int (*real_unlock)(mutex_t *);
static int (*real_ppoll)(pollfd_t *, unsigned long, const timespec_t *, const void *);
static int (*real_wait)(cond_t *, mutex_t *);
static int (*real_signal)(cond_t *);
static int (*real_broadcast)(cond_t *);

static thread_t main_loop;
static mutex_t *waited_with[CANDIDATES]; /* locks that the main loop has waited with */
static mutex_t *volatile big_lock;
static cond_t *volatile kick;
static thread_t virtual_cpu;

static volatile int asleep; /* written with the big lock held */
static int holds = 1;       /* whether the main loop has the big lock; it does when that is known */
static int overdue;         /* whether the main loop has lost its patience already */
static mutex_t bell_lock;
static cond_t bell; /* rung when the virtual CPU falls asleep */

static void *real(const char *name, const char *version)
{
    void *found = dlvsym(RTLD_NEXT, name, version);
    if (found == NULL)
        abort();
    return found;
}

/* Not only a constructor's work: a library's own constructor may lock something before that. */
static void find_real(void)
{
    real_wait = real("pthread_cond_wait", "GLIBC_2.3.2");
    real_signal = real("pthread_cond_signal", "GLIBC_2.3.2");
    real_broadcast = real("pthread_cond_broadcast", "GLIBC_2.3.2");
    real_ppoll = real("ppoll", "GLIBC_2.4");
    real_unlock = real("pthread_mutex_unlock", "GLIBC_2.2.5");
    real_lock = real("pthread_mutex_lock", "GLIBC_2.2.5");
}

__attribute__((constructor)) static void begin(void)
{
    const int priority = 0; /* these policies know no other */
    char *path = getenv(VARIABLE);
    void *page;
    int file;

    if (path == NULL)
        return;
    file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return;
    page = mmap(NULL, sizeof *told, PROT_READ_WRITE, MAP_SHARED, file, 0);
    close(file);
    unsetenv(VARIABLE); /* this process alone */
    if (page == MAP_FAILED)
        return;
    /* For all threads to come. Not if somebody has asked for less, as SCHED_IDLE is. */
    if (sched_getscheduler(0) == SCHED_OTHER)
        sched_setscheduler(0, SCHED_BATCH, &priority);
    main_loop = pthread_self();
    told = page;
}

static long worked(void)
{
    timespec_t time = {0, 0};
    int clock;

    if (pthread_getcpuclockid(virtual_cpu, &clock) == 0)
        clock_gettime(clock, &time);
    return time.seconds;
}

/* Whether it came before the main loop's patience was at its end. */
static int await_turn(void)
{
    long until = worked() + PATIENCE;
    int came = 1;

    real_lock(&bell_lock);
    while (!asleep && came) {
        timespec_t soon;

        clock_gettime(CLOCK_MONOTONIC, &soon);
        soon.seconds += 1;
        pthread_cond_clockwait(&bell, &bell_lock, CLOCK_MONOTONIC, &soon);
        came = asleep || worked() < until;
    }
    real_unlock(&bell_lock);
    return came;
}

int pthread_mutex_lock(mutex_t *lock)
{
    if (real_lock == NULL)
        find_real();
    if (lock == big_lock && pthread_self() == main_loop) {
        if (!asleep && (overdue || !await_turn()))
            told->out_of_turn++;
        told->turns++;
        overdue = 0;
        holds = 1;
    }
    return real_lock(lock);
}

int pthread_mutex_unlock(mutex_t *lock)
{
    if (real_lock == NULL)
        find_real();
    if (lock == big_lock && pthread_self() == main_loop)
        holds = 0;
    return real_unlock(lock);
}

/* Until its socket has something to say, or for a while: what else wakes it can wait. */
static void rest(const pollfd_t *all, unsigned long count)
{
    pollfd_t sockets[WATCHED];
    unsigned long i, found = 0;

    if (count > WATCHED)
        return;
    for (i = 0; i < count; i++) {
        int type;
        unsigned length = sizeof type;

        if (getsockopt(all[i].descriptor, SOL_SOCKET, SO_TYPE, &type, &length) == 0)
            sockets[found++] = all[i];
    }
    if (found > 0)
        poll(sockets, found, REST);
}

int ppoll(pollfd_t *all, unsigned long count, const timespec_t *timeout, const void *signals)
{
    if (real_lock == NULL)
        find_real();
    if (big_lock != NULL) {
        if (pthread_self() != main_loop)
            rest(all, count);
        else if (!holds && !asleep)
            overdue = !await_turn();
    }
    return real_ppoll(all, count, timeout, signals);
}

static void remember(mutex_t *lock)
{
    int i;

    for (i = 0; i < CANDIDATES && waited_with[i] != lock; i++)
        if (waited_with[i] == NULL) {
            waited_with[i] = lock;
            return;
        }
}

static int is_virtual_cpu(thread_t self, cond_t *condition, mutex_t *lock)
{
    int i;

    if (big_lock != NULL)
        return self == virtual_cpu && lock == big_lock && condition == kick;
    for (i = 0; i < CANDIDATES && waited_with[i] != NULL; i++)
        if (waited_with[i] == lock) {
            virtual_cpu = self;
            kick = condition;
            big_lock = lock;
            told->known = 1;
            return 1;
        }
    return 0;
}

int pthread_cond_wait(cond_t *condition, mutex_t *lock)
{
    thread_t self;
    int result;

    if (real_lock == NULL)
        find_real();
    if (told == NULL)
        return real_wait(condition, lock);
    self = pthread_self();
    if (self == main_loop) {
        if (big_lock == NULL)
            remember(lock);
        return real_wait(condition, lock);
    }
    if (!is_virtual_cpu(self, condition, lock))
        return real_wait(condition, lock);

    real_lock(&bell_lock);
    asleep = 1;
    real_signal(&bell);
    real_unlock(&bell_lock);
    result = real_wait(condition, lock);
    asleep = 0;
    return result;
}

/* The main loop kicks with the big lock held, so the virtual CPU wakes no sooner than it is let. */
static void awake(cond_t *condition)
{
    if (real_lock == NULL)
        find_real();
    if (condition == kick && condition != NULL && pthread_self() == main_loop)
        asleep = 0;
}

int pthread_cond_signal(cond_t *condition)
{
    awake(condition);
    return real_signal(condition);
}

int pthread_cond_broadcast(cond_t *condition)
{
    awake(condition);
    return real_broadcast(condition);
}
