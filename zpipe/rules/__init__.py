"""The rules: pure state machines and arithmetic. No socket, clock, process or file; time is passed in."""
