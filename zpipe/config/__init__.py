"""The config: frozen typed values, and how a YAML file becomes them.

Every key, its meaning and default is commented in `configs/reference.yaml`. `load` reads a file, applies
`--set` overrides, resolves relative paths against the file's folder and reports all errors of a file at once.

    file      YAML text -> a tree of values that know their line; `--set` puts values into it
    check     the tree -> plain values, by the types below; what does not fit, in words
    paths     texts that are paths or endpoints -> absolute ones that exist
    kinds     what `model` names: a file, a shared library, a Python class
    rules     what must hold between keys: distinct names, no two answers to one question
    problems  the lines that all of these report, raised together

`Meta(extra={...})` below is for `check`: `words` say what is expected, `lengths` which lengths a list
may have, `read` names the reader of `paths` that a text goes through.
"""
