"""The gate: the process whose sockets senders reach. It takes frames and hands results back; it decodes no picture."""
