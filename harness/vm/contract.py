"""What the host and every guest agree on; it imports nothing. The guest's two shell scripts
(``guestfiles``) name some of it too.
"""

# -- in a mailbox --------------------------------------------------------------------------------

CONTROL_FILE = "microvm.json"
"""Into the guest: seed, deadline, heartbeat. Out of it: how the run ended."""

INPUTS_FILE = "inputs.json"
"""What the run is called with."""

PAYLOAD_FILE = "payload.tar"
"""What the run brings along."""

OUT_FOLDER = "out"
"""What the run leaves."""

# -- in the guest --------------------------------------------------------------------------------

GUEST_HOME = "/var/lib/microvm"
PAYLOAD_AT = f"{GUEST_HOME}/payload"
"""Where a thawed guest has its payload unpacked."""

INBOX_SIZE = "microvm.inbox"
"""On the kernel's command line: the size of the inbox in bytes, by which it is found."""

OUTBOX_SIZE = "microvm.outbox"
"""The same of the outbox."""

# -- lines on the console ------------------------------------------------------------------------

SAYS = "microvm: "
HEARTBEAT = f"{SAYS}virtual seconds "
"""The guest's time since its thaw, now and then."""

FREEZING = f"{SAYS}freezing"
"""The machine is frozen right after it."""

RUN_STARTS = f"{SAYS}run starts"
"""A thawed guest has its payload and runs it."""

CHECKPOINT = f"{SAYS}checkpoint "
"""The machine stops right after it, so that the host can keep it; the checkpoint's name follows."""

WARM = "warm"
"""The name of the checkpoint behind a guest's warm-up."""
