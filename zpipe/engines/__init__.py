"""Processes and the machine that they run on: starting, reaping, signals, /proc.

Knows not what a process is for.
"""
