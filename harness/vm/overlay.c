/* Lays a checkpoint's pages over the memory of the machine that it differs from. Preloaded into
 * QEMU; see checkpoint.py.
 *
 * A checkpoint keeps the pages that differ from its base, so both together are a machine's memory.
 * QEMU maps the base's file; right behind that, each run of the checkpoint's pages is mapped over
 * it, copy on write as the base is. Nothing is read before the guest does, and what many guests of
 * a checkpoint do not change lies in memory once.
 *
 * No headers are included: the compiler that comes along has none of a C library's.
 */

typedef struct { long page, count, from; } run_t; /* in pages; checkpoint.py writes them */

extern char *getenv(const char *name);
extern int open(const char *path, int flags, ...);
extern int close(int descriptor);
extern long lseek(int descriptor, long offset, int whence);
extern long readlink(const char *path, char *into, unsigned long size);
extern int snprintf(char *into, unsigned long size, const char *format, ...);
extern char *strrchr(const char *text, int character);
extern int strcmp(const char *one, const char *other);
extern void *dlvsym(void *handle, const char *name, const char *version);
extern void abort(void);

#define NULL ((void *)0)
#define RTLD_NEXT ((void *)-1L)
#define O_RDONLY 0
#define O_CLOEXEC 02000000
#define SEEK_END 2
#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_PRIVATE 2
#define MAP_FIXED 16
#define MAP_NORESERVE 0x4000
#define MAP_FAILED ((void *)-1L)

#define VARIABLE "SWARM_CHAOS_OVERLAY" /* the checkpoint's folder; without it nothing is done */
#define PAGE 4096L
#define LONGEST 4096

typedef void *mmap_t(void *, unsigned long, int, int, int, long);

static int open_part(const char *folder, const char *name, const char *part)
{
    char path[LONGEST];

    snprintf(path, sizeof path, "%s/%s.%s", folder, name, part);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Whatever goes wrong ends QEMU: the guest would wake with the memory of another moment. */
static void lay_over(mmap_t *map, char *memory, unsigned long length, int file)
{
    char link[64], path[LONGEST], *folder = getenv(VARIABLE), *name;
    int index, pages;
    long size, i;
    run_t *runs;

    if (folder == NULL)
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return;
    path[size] = 0;
    name = strrchr(path, '/');
    if (name == NULL || (strcmp(name, "/ram") && strcmp(name, "/root")))
        return;
    index = open_part(folder, name + 1, "index");
    pages = open_part(folder, name + 1, "pages");
    if (index < 0 || pages < 0)
        abort();
    size = lseek(index, 0, SEEK_END);
    if (size > 0) {
        runs = map(NULL, size, PROT_READ, MAP_PRIVATE, index, 0);
        if (runs == MAP_FAILED)
            abort();
        for (i = 0; i < size / (long)sizeof *runs; i++) {
            run_t run = runs[i];

            if ((unsigned long)((run.page + run.count) * PAGE) > length)
                abort();
            if (map(memory + run.page * PAGE, run.count * PAGE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, pages, run.from * PAGE) == MAP_FAILED)
                abort();
        }
    }
    close(index);
    close(pages);
}

void *mmap64(void *at, unsigned long length, int protection, int flags, int file, long offset)
{
    static mmap_t *map;
    void *got;

    if (map == NULL)
        map = dlvsym(RTLD_NEXT, "mmap64", "GLIBC_2.2.5");
    got = map(at, length, protection, flags, file, offset);
    if (got != MAP_FAILED && file >= 0 && (flags & MAP_PRIVATE) && (protection & PROT_WRITE))
        lay_over(map, got, length, file);
    return got;
}

void *mmap(void *at, unsigned long length, int protection, int flags, int file, long offset)
{
    return mmap64(at, length, protection, flags, file, offset);
}
