"""What goes into a tile: glTF, the codec of its buffers, its metadata."""
