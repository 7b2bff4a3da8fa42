#!/usr/bin/env bash
# Make a SIF, for Apptainer or SingularityCE, from an image of this machine's Docker or from one that was saved:
#
#     containers/build-sif.sh predictd predictd.sif
#     containers/build-sif.sh predictd.tar predictd.sif     # docker save predictd -o predictd.tar, elsewhere
set -euo pipefail

if (($# != 2)); then
    echo "usage: $0 IMAGE|SAVED.tar OUT.sif" >&2
    exit 2
fi
image=$1 sif=$2
builder=$(command -v apptainer || command -v singularity) || {
    echo "$0: neither apptainer nor singularity is on the PATH" >&2
    exit 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [[ ! -f $image ]]; then
    docker save "$image" -o "$scratch/image.tar"
    image=$scratch/image.tar
fi
# Under another name until it is whole.
partial=$(dirname "$sif")/.$(basename "$sif").partial
trap 'rm -rf "$scratch" "$partial"' EXIT
"$builder" build --force "$partial" "docker-archive:$image"
mv "$partial" "$sif"
echo "$sif: $(du -m "$sif" | cut -f1) MB"
