"""Results once they are final: the file, the sockets that publish it, the pictures of frames that failed."""
