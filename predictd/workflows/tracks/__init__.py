"""What is done with listed tracks.

`peaks.PeakCalling` calls peaks, `binarise.Binarisation` writes what ChromHMM reads, `view.make_view` shows tracks in a
browser, `hub.make_hub` writes a UCSC track hub; `listed` reads the lists that all of them take.
"""
