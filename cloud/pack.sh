#!/usr/bin/env bash
# Pack predictd and what it needs, for `spark-submit --archives env.tar.gz#env`; see docs/spark.md.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: pack.sh [-o FILE] [-p DIRECTORY]

Packs the Python environment that is active: of a virtual environment predictd and what it needs, without Spark,
Java and MPI, which the cluster brings; of a conda environment everything (by conda-pack, which it must have).

  -o FILE       Archive to write.  [default: env.tar.gz]
  -p DIRECTORY  A Python that can be moved, e.g. python-build-standalone unpacked, to go into the archive; without it
                the archive of a virtual environment needs the Python that this was made with, at the same path, on
                every node. It must be of the same minor version.
TEXT
}

fail() {
    echo "pack.sh: error: $1" >&2
    exit 1
}

out=env.tar.gz
python=
while getopts "o:p:h" option; do
    case $option in
        o) out=$OPTARG ;;
        p) python=$OPTARG ;;
        h)
            usage
            exit 0
            ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
done
shift $((OPTIND - 1))
if (($#)); then
    usage >&2
    exit 2
fi

[[ $(uname -s) == Linux ]] || fail "pack on Linux: the nodes of a cluster cannot run what is packed elsewhere"
[[ -d $(dirname "$out") ]] || fail "there is no directory $(dirname "$out") for $out"
umask 077
work=$(mktemp -d)
new=$(dirname "$out")/.$(basename "$out").$$
trap 'rm -rf "$work" "$new"' EXIT

if [[ -n ${VIRTUAL_ENV:-} ]]; then
    own=$VIRTUAL_ENV/bin/python
    [[ -x $own ]] || fail "$VIRTUAL_ENV, which VIRTUAL_ENV names, has no bin/python: activate the environment again"
    minor=$("$own" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    mkdir "$work/env"
    if [[ -n $python ]]; then
        [[ -x $python/bin/python3 ]] || fail "-p $python has no bin/python3"
        theirs=$("$python/bin/python3" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        [[ $theirs == "$minor" ]] || fail "-p $python is Python $theirs, the environment's is $minor"
        # What is installed with it is not what predictd was installed with.
        tar -C "$python" -cf - --exclude=./lib/python*/site-packages --exclude=./lib/python*/test . |
            tar -C "$work/env" -xf -
        [[ -e $work/env/bin/python ]] || ln -s python3 "$work/env/bin/python"
    else
        base=$("$own" -c 'import os, sys; print(os.path.realpath(sys.executable))')
        mkdir "$work/env/bin"
        ln -s "$base" "$work/env/bin/python"
        ln -s python "$work/env/bin/python3"
        printf 'home = %s\ninclude-system-site-packages = false\n' "$(dirname "$base")" >"$work/env/pyvenv.cfg"
    fi
    site=lib/python$minor/site-packages
    mkdir -p "$work/env/$site"
    # The files of predictd and of what it requires, with the extras that jobs use where they are installed.
    "$own" -I - "$work/files" <<'CODE' || exit 1
import re
import sys
from importlib import metadata
from pathlib import Path

LEFT_OUT = {"pyspark", "py4j", "mpi4py"}
# Codecs of images and lossy ones are a quarter of all bytes, and no file that predictd reads or writes has them.
CODECS = {f"libh5{name}.so" for name in ("fcidecomp", "htj2k", "sperr", "sz", "sz3", "zfp")}


def requirements(name):
    for text in metadata.requires(name) or []:
        wanted, _, marker = text.partition(";")
        extra = re.search(r"extra *== *['\"]([^'\"]+)", marker)
        if extra is None or (name == "predictd" and extra[1] in ("cloud", "gcs", "tune")):
            yield re.match(r"[\w.-]+", wanted)[0]


found, waiting = {}, ["predictd"]
while waiting:
    name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
    if name in found or name in LEFT_OUT:
        continue
    try:
        found[name] = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        # Another platform's, another Python's, or an extra's.
        if name == "predictd":
            sys.exit("pack.sh: error: predictd is not installed in the active environment")
        continue
    waiting += requirements(name)
site = {Path(found["predictd"].locate_file("")).resolve()}
names = set()
for name, distribution in found.items():
    root = Path(distribution.locate_file("")).resolve()
    if root not in site:
        sys.exit(f"pack.sh: error: {name} is installed in {root}, not with predictd in {min(site)}")
    for file in distribution.files or []:
        path = root / file
        if {"..", "tests"}.isdisjoint(file.parts) and file.name not in CODECS and path.is_file():
            names.add(str(file))
if "predictd/__init__.py" not in names:
    sys.exit("pack.sh: error: predictd is installed in editable mode: install it with pip install, without -e")
Path(sys.argv[1]).write_text("".join(f"{root}\n" for root in site) + "".join(f"{n}\n" for n in sorted(names)))
CODE
    from=$(head -n 1 "$work/files")
    tail -n +2 "$work/files" | tar -C "$from" -cf - -T - | tar -C "$work/env/$site" -xf -
    chmod -R go+rX "$work/env"
    tar -C "$work/env" -cf - --owner=0 --group=0 --sort=name . | gzip -n -1 >"$new"
elif [[ -n ${CONDA_PREFIX:-} ]]; then
    [[ -z $python ]] || fail "-p is for virtual environments: a conda environment has a Python of its own"
    command -v conda-pack >/dev/null || fail "conda-pack is not installed: conda install conda-pack"
    conda-pack --quiet --prefix "$CONDA_PREFIX" --output "$work/packed.tar.gz"
    mv "$work/packed.tar.gz" "$new"
else
    fail "no environment is active: activate the virtual or conda environment that predictd is installed in"
fi

# What was packed runs at another place, from its own files.
rm -rf "${work:?}/env"
mkdir "$work/moved"
tar -C "$work/moved" -xzf "$new"
where=$(cd "$work" && "$work/moved/bin/python" -I -c '
from importlib import import_module, util
for store in ("s3fs", "adlfs", "gcsfs"):
    util.find_spec(store) and import_module(store)
import h5py, hdf5plugin, scipy.linalg, scipy.optimize, scipy.sparse.linalg, scipy.special
import sklearn.cluster, sklearn.ensemble, predictd.kernels, predictd.workflows.training.crossval
print(predictd.__file__)') || fail "what was packed does not run; the environment is left as it was"
[[ $where == "$work"/moved/* ]] || fail "what was packed takes predictd from $where; install it without -e"
chmod 644 "$new"
mv "$new" "$out"
echo "$out: $(du -h "$out" | cut -f1), checked with $("$work/moved/bin/python" --version)"
