"""What is done with listed tracks: peaks, binarised signal, a browser, a track hub."""
