"""The models: what a stage calls, whichever runtime is behind it.

Owns runtimes, plugins and the cache of compiled models; knows nothing of frames, messages or processes.

    interface    what every model is: `Detector`, `Classifier`, and the arrays that they return
    opening      the choice of the runtime by the config's `model`
    core         files in the C++ core over OpenVINO; onnxruntime the same with onnxruntime in the middle
    plugin       shared libraries with the C ABI of zpipe_plugin.h
    python       `package.module:Class`, a class of the user's own; returned checks what it returns
    labels, filters, cache
"""
