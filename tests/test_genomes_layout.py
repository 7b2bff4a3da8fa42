"""Genomes, blacklists, and how chromosomes become bins, runs and shards."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from made_tracks import hit
from predictd.errors import DataError, TableError, TrackError
from predictd.io.tables import Interval, read_bed
from predictd.io.tensor.layout import Contig, Coverage, Places, plan_shards
from predictd.io.tracks.genomes import BUILT_IN, Genome, built_in_blacklist, load_genome
from refusals import refused

hypothesis = pytest.importorskip("hypothesis")
given = hypothesis.given
st = hypothesis.strategies

BIN = 25
AUTOSOMES = [f"chr{i}" for i in range(1, 23)]


class TestGenomes:
    def test_built_in(self):
        assert BUILT_IN == ("ce11", "dm6", "hg19", "hg38", "mm10", "mm39")
        hg19, hg38 = load_genome("hg19"), load_genome("hg38")
        assert (hg19.name, hg38.name) == ("hg19", "hg38")
        # Lengths as the UCSC genome browser gives them.
        assert (hg19.chromosomes["chr1"], hg19.chromosomes["chrX"]) == (249_250_621, 155_270_560)
        assert (hg38.chromosomes["chr1"], hg38.chromosomes["chrX"]) == (248_956_422, 156_040_895)
        assert set(AUTOSOMES) < hg19.chromosomes.keys() & hg38.chromosomes.keys()

    @pytest.mark.parametrize(
        ("name", "n", "bases", "chrom", "length"),
        [
            ("mm10", 66, 2_730_871_774, "chr1", 195_471_971),
            ("mm39", 61, 2_728_222_451, "chr1", 195_154_279),
            ("dm6", 1870, 143_726_002, "chr2L", 23_513_712),
            ("ce11", 7, 100_286_401, "chrI", 15_072_434),
        ],
    )
    def test_sizes_of_model_organisms(self, name, n, bases, chrom, length):
        genome = load_genome(name)
        assert (len(genome.chromosomes), sum(genome.chromosomes.values())) == (n, bases)
        assert genome.chromosomes[chrom] == length

    @pytest.mark.parametrize(
        ("name", "known"),
        [
            ("GRCh38", "hg38"),
            ("GRCh38.p14", "hg38"),
            ("grch37", "hg19"),
            ("HG19", "hg19"),
            ("GRCm38.p6", "mm10"),
            ("GRCm39", "mm39"),
            ("BDGP6.46", "dm6"),
            ("WBcel235", "ce11"),
        ],
    )
    def test_other_names_of_assemblies(self, name, known, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert load_genome(name) == load_genome(known)
        (tmp_path / name).write_text("chr1\t5\n")
        assert load_genome(name).chromosomes == {"chr1": 5}

    def test_of_a_track_surplus_contigs_are_left_out(self):
        hg38 = load_genome("hg38")
        main = {chrom: hg38.chromosomes[chrom] for chrom in [*AUTOSOMES, "chrX", "chrY"]}
        encode = {**main, "chrM": 16_571, "chrEBV": 171_823, "chrUn_JTFH01000001v1_decoy": 25_139}
        assert hg38.fitting("x.bw", encode) == main
        assert hg38.fitting("x.bw", {"chr21": main["chr21"]}) == {"chr21": main["chr21"]}
        assert Genome("some", {"chr21": main["chr21"]}).fitting("x.bw", encode) == {"chr21": main["chr21"]}

    def test_only_what_is_read_has_to_be_the_same(self):
        hg19, hg38 = load_genome("hg19"), load_genome("hg38")
        other = {**hg38.chromosomes, "chr1": 5_000_000}
        assert hg38.fitting("x.bw", other, {"chr21"})["chr21"] == hg38.chromosomes["chr21"]
        for read in (None, {"chr1"}):
            with refused(
                TrackError, "x.bw: hg38 gives chr1 248,956,422 bp, not 5,000,000", "another genome?"
            ):
                hg38.fitting("x.bw", other, read)
        foreign = {chrom: hg19.chromosomes[chrom] for chrom in AUTOSOMES}
        with refused(TrackError, "x.bw: most of its chromosomes have another length in hg38"):
            hg38.fitting("x.bw", {**foreign, "chr21": hg38.chromosomes["chr21"]}, {"chr21"})

    def test_names_that_differ_by_chr(self):
        plain = {chrom.removeprefix("chr"): n for chrom, n in load_genome("hg38").chromosomes.items()}
        with refused(TrackError, "x.bw: hg38 has no chromosome '1', but 'chr1'", "with or without chr"):
            load_genome("hg38").fitting("x.bw", plain)
        with refused(TrackError, "x.bw: plain has no chromosome 'chr1', but '1'", "with or without chr"):
            Genome("plain", plain).fitting("x.bw", load_genome("hg38").chromosomes)

    def test_a_file_of_sizes(self, tmp_path):
        path = tmp_path / "mouse.v2.chrom.sizes"
        path.write_bytes("\ufeff# comment\r\nchr2\t75\tmore\r\n\r\nchr1 1000\r\n".encode())
        genome = load_genome(str(path))
        assert genome.name == "mouse"
        assert list(genome.chromosomes.items()) == [("chr2", 75), ("chr1", 1000)]

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("", ["names no chromosomes", "it needs a line"]),
            ("chr1\n", ["line 1", "expected a chromosome's name and its length"]),
            ("chr1\t5\nchr2\tlong\n", ["line 2", "expected a chromosome's name and its length"]),
            ("chr1\t0\n", ["line 1", "expected a chromosome's name and its length"]),
            (
                "chr1\t2147483648\n",
                ["line 1", "chr1 has 2,147,483,648 bp", "at most 2,147,483,647", "divide"],
            ),
            ("chr1\t-5\n", ["line 1", "expected a chromosome's name and its length"]),
            ("chr1\t5\nchr2\t6\nchr1\t5\n", ["line 3", "chr1 is there twice", "keep one"]),
        ],
    )
    def test_wrong_sizes(self, tmp_path, text, parts):
        path = tmp_path / "x.chrom.sizes"
        path.write_text(text)
        with refused(TableError, str(path), *parts):
            load_genome(str(path))

    @pytest.mark.parametrize("name", ["hg18", "long" * 100])
    def test_unknown(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with refused(TableError, f"unknown genome '{name}'", "hg19, hg38", "path of a file"):
            load_genome(name)

    def test_no_text(self, tmp_path):
        (tmp_path / "x.sizes").write_bytes(b"\x00\xff\xfe")
        with refused(TableError, str(tmp_path / "x.sizes"), "not text"):
            load_genome(str(tmp_path / "x.sizes"))
        with refused(TableError, str(tmp_path), "Is a directory"):
            load_genome(str(tmp_path))

    def test_intervals_of_another_genome(self):
        genome = Genome("small", {"chr1": 100})
        genome.check_intervals([Interval("chr1", 0, 100)], "a.bed")
        with refused(
            TableError, "a.bed: chr1:90-101", "does not fit small", "gives it 100 bp", "another genome?"
        ):
            genome.check_intervals([Interval("chr1", 0, 100), Interval("chr1", 90, 101)], "a.bed")
        with refused(
            TableError, "a.bed: chr2:0-1", "does not fit small", "no such chromosome", "another genome?"
        ):
            genome.check_intervals([Interval("chr2", 0, 1)], "a.bed")
        with refused(TableError, "a.bed: 1:0-1", "has no such chromosome, but 'chr1'"):
            genome.check_intervals([Interval("1", 0, 1)], "a.bed")

    @pytest.mark.parametrize(("name", "n", "bases"), [("hg19", 834, 274_970_000), ("hg38", 636, 227_162_400)])
    def test_blacklists_lie_on_their_genomes(self, name, n, bases):
        genome = load_genome(name)
        blacklist = built_in_blacklist(genome)
        genome.check_intervals(blacklist, name)
        assert len(blacklist) == n
        assert sum(i.end - i.start for i in blacklist) == bases

    def test_no_blacklist(self, tmp_path):
        with refused(TableError, "no blacklist", "'small'", "`exclude`"):
            built_in_blacklist(Genome("small", {"chr1": 100}))

    def test_a_blacklist_is_not_for_a_genome_that_only_has_the_name(self):
        whole = load_genome("hg19")
        some = Genome("hg19", {"chr1": whole.chromosomes["chr1"]})
        assert built_in_blacklist(some) == built_in_blacklist(whole)
        with refused(TableError, "no blacklist", "'hg19'"):
            built_in_blacklist(Genome("hg19", {"chr1": 100}))


def bins_of(plan) -> list[int]:
    return [b for first, length in plan.places.runs.tolist() for b in range(first, first + length)]


CHROMOSOMES = {"chrB": 903, "chrA": 250, "chrC": 7}


@st.composite
def interval_lists(draw):
    def interval(chrom):
        length = CHROMOSOMES[chrom]
        return st.tuples(st.integers(0, length - 1), st.integers(1, 120)).map(
            lambda pair: Interval(chrom, pair[0], min(pair[0] + pair[1], length))
        )

    return draw(st.lists(st.sampled_from(sorted(CHROMOSOMES)).flatmap(interval), max_size=12))


class TestLayout:
    def test_whole_chromosomes_in_genome_order(self):
        genome = Genome("g", {"chr2": 100, "chr10": 101, "chr1": 24})
        plans = plan_shards(genome, bin_size=BIN, max_bins=100, chromosomes={"chr1", "chr2", "chr10"})
        assert [(p.name, p.places.chrom, p.places.n_bins, p.places.runs.tolist()) for p in plans] == [
            ("chr2.0000", "chr2", 4, [[0, 4]]),
            ("chr10.0000", "chr10", 5, [[0, 5]]),
            ("chr1.0000", "chr1", 1, [[0, 1]]),
        ]

    def test_chromosomes_without_signal_are_left_out(self):
        genome = Genome("g", {"chr1": 100, "chr2": 100})
        assert [
            p.places.chrom for p in plan_shards(genome, bin_size=BIN, max_bins=9, chromosomes={"chr2"})
        ] == ["chr2"]

    def test_shards_of_equal_size(self):
        plans = plan_shards(Genome("g", {"c": 10 * BIN}), bin_size=BIN, max_bins=4, chromosomes={"c"})
        assert [(p.name, p.places.runs.tolist()) for p in plans] == [
            ("c.0000", [[0, 3]]),
            ("c.0001", [[3, 3]]),
            ("c.0002", [[6, 4]]),
        ]

    def test_a_region_is_a_run_unless_it_shares_a_bin_with_another(self):
        regions = [
            Interval("c", s, e) for s, e in [(200, 250), (0, 26), (49, 50), (50, 60), (100, 125), (125, 130)]
        ]
        plans = plan_shards(
            Genome("g", {"c": 1000}), bin_size=BIN, max_bins=99, chromosomes={"c"}, regions=regions
        )
        # 0-26 and 49-50 share bin 1; 50-60 begins bin 2; 100-125 and 125-130 only touch.
        assert [p.places.runs.tolist() for p in plans] == [[[0, 2], [2, 1], [4, 1], [5, 1], [8, 2]]]

    def test_excluded_bins_part_a_run(self):
        exclude = [Interval("c", s, e) for s, e in [(30, 31), (50, 75), (200, 210), (975, 1000)]]
        plans = plan_shards(
            Genome("g", {"c": 1000}), bin_size=BIN, max_bins=99, chromosomes={"c"}, exclude=exclude
        )
        assert [p.places.runs.tolist() for p in plans] == [[[0, 1], [3, 5], [9, 30]]]

    @pytest.mark.parametrize(
        "kwargs",
        [
            {"chromosomes": set()},
            {"chromosomes": {"c"}, "exclude": [Interval("c", 0, 100)]},
            {"chromosomes": {"c"}, "regions": [Interval("d", 0, 100)]},
        ],
    )
    def test_nothing_left(self, kwargs):
        genome = Genome("g", {"c": 100, "d": 100})
        with refused(DataError, "no bins are left", "regions", "excluded", "tracks"):
            plan_shards(genome, bin_size=BIN, max_bins=9, **kwargs)

    @given(
        regions=st.none() | interval_lists(),
        exclude=st.none() | interval_lists(),
        chromosomes=st.sets(st.sampled_from(sorted(CHROMOSOMES))),
        bin_size=st.sampled_from([1, 7, 25, 1000]),
        max_bins=st.integers(1, 50),
    )
    def test_against_brute_force(self, regions, exclude, chromosomes, bin_size, max_bins):
        genome = Genome("g", CHROMOSOMES)
        expected = {
            chrom: [
                b
                for b in range(-(-length // bin_size))
                if (regions is None or hit(regions, chrom, b, bin_size))
                and not hit(exclude or [], chrom, b, bin_size)
            ]
            for chrom, length in CHROMOSOMES.items()
            if chrom in chromosomes
        }
        expected = {chrom: bins for chrom, bins in expected.items() if bins}
        arguments = {"bin_size": bin_size, "max_bins": max_bins, "chromosomes": chromosomes}
        if not expected:
            with pytest.raises(DataError):
                plan_shards(genome, **arguments, regions=regions, exclude=exclude)
            return
        plans = plan_shards(genome, **arguments, regions=regions, exclude=exclude)
        found: dict[str, list[int]] = {}
        sizes: dict[str, list[int]] = {}
        for plan in plans:
            assert plan.places.runs.dtype == np.int64
            assert (plan.places.runs[:, 1] > 0).all()
            assert plan.places.n_bins == len(bins_of(plan)) <= max_bins
            assert plan.name == f"{plan.places.chrom}.{len(sizes.get(plan.places.chrom, [])):04d}"
            found.setdefault(plan.places.chrom, []).extend(bins_of(plan))
            sizes.setdefault(plan.places.chrom, []).append(plan.places.n_bins)
        assert found == expected
        assert list(found) == [chrom for chrom in CHROMOSOMES if chrom in found]
        for chrom, pieces in sizes.items():
            assert len(pieces) == -(-len(expected[chrom]) // max_bins)
            assert max(pieces) - min(pieces) <= 1

    @given(regions=interval_lists(), bin_size=st.sampled_from([7, 25]))
    def test_runs_end_where_no_region_goes_on(self, regions, bin_size):
        covered = sorted({i.chrom for i in regions})
        if not covered:
            return
        plans = plan_shards(
            Genome("g", CHROMOSOMES), bin_size=bin_size, max_bins=1000, chromosomes=covered, regions=regions
        )
        for plan in plans:
            for (first, length), (after, _) in pairwise(plan.places.runs.tolist()):
                last = first + length - 1
                assert not set(hit(regions, plan.places.chrom, last, bin_size)) & set(
                    hit(regions, plan.places.chrom, after, bin_size)
                )
            for first, length in plan.places.runs.tolist():
                for b in range(first, first + length - 1):
                    # Every step inside a run is spanned by a region, or two regions meet in one of its bins.
                    here, there = (set(hit(regions, plan.places.chrom, n, bin_size)) for n in (b, b + 1))
                    assert here & there

    @given(intervals=interval_lists(), bins=st.sets(st.integers(0, 40)), bin_size=st.sampled_from([7, 25]))
    def test_coverage_against_brute_force(self, intervals, bins, bin_size):
        runs = {chrom: np.array([[b, 1] for b in sorted(bins)], dtype=np.int64) for chrom in ("chrB", "chrA")}
        contigs = tuple(Contig(chrom, 10**6, own.reshape(-1, 2)) for chrom, own in runs.items())
        places, coverage = Places(contigs, bin_size), Coverage(intervals)
        hits = [hit(intervals, chrom, b, bin_size) for chrom in runs for b in sorted(bins)]
        assert coverage.mask(places).dtype == bool
        assert coverage.mask(places).tolist() == [bool(own) for own in hits]
        assert coverage.counts(places).tolist() == [len(own) for own in hits]

    def test_the_pilot_regions(self, pilot):
        genome = load_genome("hg19")
        regions = read_bed(pilot / "data" / "genomes" / "encode-pilot.hg19.bed")
        genome.check_intervals(regions, "pilot")
        plans = plan_shards(genome, bin_size=25, max_bins=2**18, chromosomes=AUTOSOMES, regions=regions)
        assert sum(p.places.n_bins for p in plans) == 1_126_426
        on_autosomes = [i for i in regions if i.chrom in AUTOSOMES]
        assert sum(len(p.places.runs) for p in plans) == len(on_autosomes)
