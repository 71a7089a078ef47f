"""What frames and messages travel through on one machine: sockets, shared memory, the run folder. Decides nothing."""
