"""Files of genes as they are downloaded, and the genes that come with predictd."""

from __future__ import annotations

import gzip

import pytest

from places import SHARED
from predictd.errors import TableError
from predictd.io.tables import Interval
from predictd.io.tracks.genes import Gene, as_bed, assembly_of, built_in_genes, on_chromosomes, read_genes
from predictd.io.tracks.genomes import load_genome
from refusals import refused

# Two transcripts of a gene, of which the first has more coding bases (100, not 60), and a gene that codes for nothing.
ABC = Gene("ABC", 100, 900, "+", "chr1", ((100, 200), (300, 400)), (150, 350))
NC1 = Gene("NC1", 2000, 2600, "-", "chr1", ((2000, 2100), (2500, 2600)))
TABLE = [
    ("T2", "ABC", "+", 100, 900, 120, 180, "100,500,", "200,900,"),
    ("T1", "ABC", "+", 100, 400, 150, 350, "100,300,", "200,400,"),
    ("T3", "NC1", "-", 2000, 2600, 2600, 2600, "2000,2500,", "2100,2600,"),
]


def ucsc(*, before: bool = False, numbered: bool = True, behind: bool = True) -> str:
    """A table of UCSC: refFlat where the gene's name stands before, else genePred, with bins if numbered."""
    lines = ["#bin\tname\tchrom\tstrand"] if numbered else []
    for one, gene, strand, *numbers, starts, ends in TABLE:
        # What has no name of its gene is one gene with what has its own name.
        named = [gene] if before else ["585"] if numbered else []
        own = one if before or behind else gene
        more = ["0", gene, "cmpl", "cmpl", "0,1,"] if behind else []
        lines.append("\t".join([*named, own, "chr1", strand, *map(str, numbers), "2", starts, ends, *more]))
    return "\n".join(lines) + "\n"


def gtf(gene_lines: bool = True, name: str = 'gene_name "{}";') -> str:
    lines = ["#!genome-build"]
    for one, gene, strand, start, end, first, last, starts, ends in TABLE:

        def line(kind, low, high, one=one, gene=gene, strand=strand):
            told = f'gene_id "G-{gene}"; transcript_id "{one}"; {name.format(gene)}'
            lines.append(f"chr1\tx\t{kind}\t{low + 1}\t{high}\t.\t{strand}\t.\t{told}")

        if gene_lines and one != "T1":
            line("gene", start, end)
        line("transcript", start, end)
        for low, high in exons(starts, ends):
            line("exon", low, high)
            if low < last and high > first:
                line("CDS", max(low, first), min(high, last))
    return "\n".join(lines) + "\n"


def gff3(gene: str = "gene:G-{0}", named: str = "Name={0}") -> str:
    lines = ["##gff-version 3", "chr1\tx\tregion\t1\t5000\t.\t+\t.\tID=chr1;Name=1"]
    for one, name, strand, start, end, first, last, starts, ends in TABLE:

        def line(kind, low, high, told, strand=strand):
            lines.append(f"chr1\tx\t{kind}\t{low + 1}\t{high}\t.\t{strand}\t.\t{told}")

        if one != "T1":
            line(
                "ncRNA_gene" if name == "NC1" else "gene",
                start,
                end,
                f"ID={gene.format(name)};{named.format(name)}",
            )
        line("mRNA", start, end, f"ID=transcript:{one};Parent={gene.format(name)};Name={one}")
        for low, high in exons(starts, ends):
            line("exon", low, high, f"Parent=transcript:{one};Name=exon")
            if low < last and high > first:
                line("CDS", max(low, first), min(high, last), f"ID=CDS:{one};Parent=transcript:{one}")
    return "\n".join(lines) + "\n##FASTA\n>chr1\nACGT\n"


def exons(starts: str, ends: str) -> list[tuple[int, int]]:
    return list(
        zip(*([int(text) for text in part.split(",") if text] for part in (starts, ends)), strict=True)
    )


def bed() -> str:
    lines = ["track name=genes"]
    for _, gene, strand, start, end, first, last, starts, ends in TABLE:
        sizes = ",".join(str(high - low) for low, high in exons(starts, ends))
        offsets = ",".join(str(low - start) for low, _ in exons(starts, ends))
        lines.append(
            f"chr1\t{start}\t{end}\t{gene}\t0\t{strand}\t{first}\t{last}\t0\t2\t{sizes},\t{offsets},"
        )
    return "\n".join(lines) + "\n"


FORMS = {
    "refGene.txt": ucsc(),
    "genePredExt.txt": ucsc(numbered=False),
    "genePred.txt": ucsc(numbered=False, behind=False),
    "refFlat.txt": ucsc(before=True, numbered=False, behind=False),
    "a.gtf": gtf(),
    "without-genes.gtf": gtf(gene_lines=False),
    "refseq.gtf": gtf(name='gene "{}";'),
    "nameless.gtf": gtf(name="").replace("G-", ""),
    "ensembl.gff3": gff3(),
    "gencode.gff3": gff3("G-{0}", "gene_name={0};Name=x"),
    "nameless.gff3": gff3("gene:{0}", "biotype=x"),
    # Lines in any order, as the specification allows.
    "backwards.gff3": "##gff-version 3\n"
    + "\n".join(gff3().partition("##FASTA")[0].splitlines()[:1:-1])
    + "\n",
    "a.bed": bed(),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_same_genes_of_every_form(name, tmp_path):
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(FORMS[name].encode()))
    assert read_genes(path) == [ABC, NC1]
    assert read_genes(path, Interval("chr1", 0, 2000)) == [ABC]
    assert read_genes(path, Interval("chr2", 0, 2000)) == []


def test_one_name_at_several_places_is_several_genes(tmp_path):
    path = tmp_path / "a.bed"
    path.write_text(
        "chr1\t10\t20\tX\t0\t+\nchr1\t15\t30\tX\t0\t+\nchr1\t30\t40\tX\t0\t+\nchr1\t15\t18\tX\t0\t-\nchr2\t5\t9\n"
    )
    assert [gene[:5] for gene in read_genes(path)] == [
        ("X", 10, 30, "+", "chr1"),
        ("X", 15, 18, "-", "chr1"),
        ("X", 30, 40, "+", "chr1"),
        ("", 5, 9, "", "chr2"),
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["lists no genes"]),
        ("#bin\tname\n", ["lists no genes"]),
        (ucsc() + "585\tT4\tchr1\n", ["a.txt, line 5: expected a transcript as UCSC's tables have them"]),
        (ucsc().replace("100,300,\t200,400,", "100,300,\t200,"), ["a.txt, line 3: expected a transcript"]),
        (gtf() + "chr1\tx\texon\tone\ttwo\t.\t+\t.\t\n", ["expected a start and an end"]),
        (bed().replace("\t100,400,", "\t100,"), ["chr1:100-900: columns 7 to 12 are not blocks of BED"]),
        ("gene,chrom\nABC,chr1\n", ["comma-separated"]),
        ("chr1\tABC\n", ["line 1: expected chromosome, start and end"]),
    ],
)
def test_what_is_no_file_of_genes(text, parts, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(text)
    with refused(TableError, *parts):
        read_genes(path)
    with refused(TableError, "cannot read", "gone"):
        read_genes(tmp_path / "gone")


def test_the_tracks_names_of_chromosomes():
    genes = [ABC, NC1._replace(chrom="2"), NC1._replace(chrom="MT"), NC1._replace(chrom="chrUn_1")]
    assert on_chromosomes(genes, {"1": 9000, "chr2": 9000, "chrM": 3000}, "g") == [
        ABC._replace(chrom="1"),
        NC1._replace(chrom="chr2"),
        NC1._replace(chrom="chrM"),
    ]
    with refused(
        TableError, "g: NC1 ends at chr1:2,600, but chr1 of the tracks has 2,500 bp", "the tracks' genome"
    ):
        on_chromosomes([ABC, NC1], {"chr1": 2500}, "g")
    with refused(
        TableError, "it names them NC_000001.11, the tracks chr1", "take a file with the tracks' names"
    ):
        on_chromosomes([ABC._replace(chrom="NC_000001.11")], {"chr1": 2500}, "g")


def test_lines_for_the_page(tmp_path):
    path = tmp_path / "a.bed"
    path.write_text(as_bed([ABC, NC1]))
    # The representative's exons only; the line is as long as the gene.
    assert path.read_text().splitlines()[0].split("\t")[1:] == (
        ["100", "900", "ABC", "0", "+", "150", "350", "0", "2", "100,100", "0,200"]
    )
    assert read_genes(path) == [ABC, NC1]
    plain = Gene("A gene", 5, 9, "", "chr2")
    assert as_bed([plain, plain._replace(name="")]) == (
        "chr2\t5\t9\tA_gene\t0\t.\t5\t9\t0\t1\t4\t0\nchr2\t5\t9\t.\t0\t.\t5\t9\t0\t1\t4\t0\n"
    )


@pytest.mark.parametrize(
    ("genome", "myc", "tp53"),
    [
        (
            "hg19",
            ("MYC", 128_747_679, 128_753_674, "+", "chr8"),
            ("TP53", 7_565_096, 7_590_856, "-", "chr17"),
        ),
        (
            "hg38",
            ("MYC", 127_735_433, 127_742_951, "+", "chr8"),
            ("TP53", 7_661_778, 7_687_550, "-", "chr17"),
        ),
        (
            "mm10",
            ("Myc", 61_985_390, 61_990_374, "+", "chr15"),
            ("Trp53", 69_580_358, 69_591_873, "+", "chr11"),
        ),
    ],
)
def test_genes_that_come_with_predictd(genome, myc, tp53):
    genes = built_in_genes(genome)
    assert 20_000 < len(genes) < 25_000
    # Of Ensembl's pages of these genes, which count from 1.
    found = {gene.name: gene[:5] for gene in genes}
    assert found[myc[0]] == myc and found[tp53[0]] == tp53
    chromosomes = load_genome(genome).chromosomes
    assert len(on_chromosomes(genes, chromosomes, genome)) == len(genes)


def test_genomes_without_genes_have_none():
    assert built_in_genes("ce11") == [] and built_in_genes("../hg19") == []


REFSEQ = SHARED / "data" / "genomes" / "refseq-tss.hg19.bed.gz"


@pytest.mark.skipif(not REFSEQ.exists(), reason="RefSeq's table is not here")
def test_starts_agree_with_refseq():
    """Most genes begin where RefSeq has a transcript's start, which is another's work on the same genome."""
    starts: dict[str, set[int]] = {}
    with gzip.open(REFSEQ, "rt") as file:
        for line in file:
            chrom, start = line.split()[:2]
            starts.setdefault(chrom, set()).add(int(start) // 2000)
    near = [
        bool({place - 1, place, place + 1} & starts[gene.chrom])
        for gene in built_in_genes("hg19")
        for place in [(gene.start if gene.strand == "+" else gene.end - 1) // 2000]
    ]
    assert sum(near) / len(near) > 0.8


def test_which_genome_tracks_are_of():
    for name in ("hg19", "hg38", "mm10", "mm39", "dm6", "ce11"):
        chromosomes = load_genome(name).chromosomes
        assert assembly_of(chromosomes) == name
        assert (
            assembly_of({chrom.removeprefix("chr"): length for chrom, length in chromosomes.items()}) == name
        )
    assert assembly_of({"chr21": 48_129_895}) == "hg19" and assembly_of({"chr1": 48_129_895, "x": 5}) is None
