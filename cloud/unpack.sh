#!/usr/bin/env bash
# Put the environment that pack.sh has made on a node of a cluster: a bootstrap action of EMR, a script action of
# HDInsight.
#
#     unpack.sh ARCHIVE [DIRECTORY]
#
# ARCHIVE is env.tar.gz at s3://, at abfs:// or on the node's own disk. It takes the place of DIRECTORY (/opt/predictd)
# once it is whole and runs; its Python is then DIRECTORY/bin/python.
set -euo pipefail

fail() {
    echo "unpack.sh: error: $1" >&2
    exit 1
}

if (($# < 1 || $# > 2)); then
    echo "Usage: unpack.sh ARCHIVE [DIRECTORY]" >&2
    exit 2
fi
archive=$1
target=${2:-/opt/predictd}
[[ $target == /*[!/] ]] || fail "$target: give the directory as an absolute path, without a slash at its end"
parent=$(dirname "$target")

# EMR runs this as a user who may use sudo, HDInsight as root.
may=()
if ! mkdir -p "$parent" 2>/dev/null || [[ ! -w $parent ]]; then may=(sudo -n); fi
work=$(mktemp -d)
new=$target.new.$$ old=$target.old.$$
trap '"${may[@]}" rm -rf "$new"; rm -rf "$work"' EXIT

case $archive in
    s3://*)
        aws s3 cp --only-show-errors "$archive" "$work/env.tar.gz" ||
            fail "$archive cannot be copied: is it there, and may the nodes' role read it?"
        ;;
    abfs://* | abfss://*)
        hadoop fs -get "$archive" "$work/env.tar.gz" ||
            fail "$archive cannot be copied: is it there, and may the cluster's identity read it?"
        ;;
    *://*) fail "$archive: give s3://, abfs:// or a path" ;;
    *)
        [[ -f $archive ]] || fail "there is no file $archive"
        ln -s "$(realpath "$archive")" "$work/env.tar.gz"
        ;;
esac

# The users of YARN's containers have to read it: there are programs in it, and no data.
"${may[@]}" mkdir -p "$parent"
"${may[@]}" mkdir -m 755 "$new"
"${may[@]}" tar -xzf "$work/env.tar.gz" -C "$new" --no-same-owner || fail "$archive is no .tar.gz, or not whole"
[[ -x $new/bin/python ]] || fail "the Python of $archive (bin/python) is not there, or leads to one that this node \
does not have: pack with a Python that can be moved (pack.sh -p, or conda)"
# All that is compiled: what was built for a newer system fails here, on the first node, and not in the middle of a job.
said=$(cd / && "$new/bin/python" -I -c 'import predictd.cli, predictd.kernels, predictd.io.tracks.bigwig' 2>&1) ||
    fail "what is in $archive does not run on this node: $(tail -n 1 <<<"$said")"

if [[ -e $target ]]; then "${may[@]}" mv -T "$target" "$old"; fi
"${may[@]}" mv -T "$new" "$target"
"${may[@]}" rm -rf "$old"
echo "$target: $("$target/bin/python" --version), $(cd / && "$target/bin/python" -I -m predictd --version)"
