"""`zpipe bench`: what a frame costs bare on this machine, what the pipeline reaches, which worker counts to take.

    frames    the sample of frames that everything here is measured on
    bare      what each step costs in one thread, without any pipeline around it
    pipeline  one run of the pipeline: frames/s, CPU time, latency, memory
    counts    which worker counts are worth a run, and which of them to recommend
    measure   all of it in turn, as one report
    scratch   folders for what is written meanwhile
    table     the report for a terminal
    chart     the report as a picture (PNG, SVG, HTML)

Everything is in CPU seconds as the kernel accounts them, so what else the machine does disturbs little of it; frames/s
it does disturb, and the report says what load there was before it began.
"""
