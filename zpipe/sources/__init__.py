"""Where frames come from: an image, a directory, a list file or a video, behind one protocol.

A source names, numbers and reads frames; it never decodes image files and knows nothing of messages.
"""
