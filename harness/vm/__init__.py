"""A machine of our own: boot a kernel, freeze it, thaw it with a payload, bring back a folder.

    image = GuestImage(base_tar(cache), debian_kernel("trixie", cache), requirements, constraints)
    snapshot = freeze(FreezeSpec(image, ["python3", "agent.py"], payload), cache)
    with Pool().slot() as cpu, thaw(snapshot, code, {"x": 1}, seed=7, ...) as guest:
        result = guest.wait(folder, wall_deadline=600)

Knows nothing of Docker or of tests. In the guest ``agent.py`` calls
:func:`harness.vm.guest_init.serve`. Names are imported from the modules that have them: some of
them are the host's and some the guest's, and neither side is to import the other's.
"""
