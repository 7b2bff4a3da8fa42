#!/usr/bin/env bash
# Install predictd with MPI on the shared file system of an AWS ParallelCluster: a post-install script of its head node.
#
#     install.sh WHEELS [DIRECTORY [PYTHON]]
#
# WHEELS is a .tar.gz of wheels at s3:// or on the node's own disk, for the nodes' Python (docs/parallelcluster.md);
# nothing else is downloaded. DIRECTORY (/shared/predictd) gets a virtual environment, venv, and predictd-site.sh, which
# the scripts of slurm/ source. PYTHON (python3) has to be on all nodes at the same path.
set -euo pipefail

fail() {
    echo "install.sh: error: $1" >&2
    exit 1
}

if (($# < 1 || $# > 3)); then
    echo "Usage: install.sh WHEELS [DIRECTORY [PYTHON]]" >&2
    exit 2
fi
wheels=$1
target=${2:-/shared/predictd}
python=${3:-python3}
[[ $target == /*[!/] ]] || fail "$target: give the directory as an absolute path, without a slash at its end"
command -v "$python" >/dev/null || fail "there is no $python here"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case $wheels in
    s3://*)
        aws s3 cp --only-show-errors "$wheels" "$work/wheels.tar.gz" ||
            fail "$wheels cannot be copied: is it there, and does HeadNode/Iam/S3Access name its bucket?"
        ;;
    *://*) fail "$wheels: give s3:// or a path" ;;
    *)
        [[ -f $wheels ]] || fail "there is no file $wheels"
        ln -s "$(realpath "$wheels")" "$work/wheels.tar.gz"
        ;;
esac
mkdir "$work/wheels"
tar -xzf "$work/wheels.tar.gz" -C "$work/wheels" --no-same-owner || fail "$wheels is no .tar.gz, or not whole"

# The users of the cluster run it: there are programs in it, and no data.
umask 022
mkdir -p "$target"
# The name of an environment's folder is written into its programs: it is made anew at its place, and predictd-site.sh,
# without which no job finds it, comes last.
rm -f "$target/predictd-site.sh"
"$python" -m venv --clear --without-pip "$target/venv"
pip=$(find "$work/wheels" -name 'pip-*.whl' -print -quit)
[[ $pip ]] || fail "$wheels has no wheel of pip"
"$target/venv/bin/python" "$pip/pip" install --quiet --no-index --find-links "$work/wheels" \
    --disable-pip-version-check --no-warn-script-location --root-user-action=ignore 'predictd[mpi]' mpich ||
    fail "$wheels does not hold all of predictd[mpi] and mpich for $("$python" --version)"
said=$(cd / && "$target/venv/bin/python" -I -c 'from mpi4py import MPI; print(MPI.Get_library_version())' 2>&1) ||
    fail "MPI does not load: $(tail -n 1 <<<"$said")"

cat >"$work/site" <<SITE
# Sourced by the scripts of slurm/: PREDICTD_SITE=$target/predictd-site.sh
PREDICTD=("$target/venv/bin/python" "$target/venv/bin/predictd")
PATH="$target/venv/bin:\$PATH"
SITE
install -m 644 "$work/site" "$target/.predictd-site.sh.$$"
mv "$target/.predictd-site.sh.$$" "$target/predictd-site.sh"
echo "$target: $("$target/venv/bin/python" "$target/venv/bin/predictd" --version), $(head -n 1 <<<"$said")"
