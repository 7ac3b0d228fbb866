#!/usr/bin/env bash
# Builds the image of this checkout: with docker, or as root with buildah where no engine runs.
#
#   deploy/image/build.sh [OPTION...]     options go to the builder: --build-arg, --volume, ...
#
# TAG   the image's name (redraft:cpu)
# BASE  the image below it, for buildah: none makes one from Debian's packages with mmdebstrap, so that no image registry is asked
set -euo pipefail
cd "$(dirname "$0")/../.."
TAG=${TAG:-redraft:cpu}

# What python:3.11-slim-bookworm and debian:bookworm-slim are to the Dockerfile: Debian 12 with Python and pip.
debian_base() {
    local image=localhost/redraft-base:bookworm container
    if ! buildah inspect --type image "$image" > /dev/null 2>&1; then
        container=$(buildah from scratch)
        # shellcheck disable=SC2064 # this container, now
        trap "buildah rm $container > /dev/null" EXIT
        mmdebstrap --quiet --mode=root --variant=minbase --include=ca-certificates,python3,python3-pip \
            --aptopt='DPkg::Post-Invoke {"rm -f /var/cache/apt/*.bin /var/cache/apt/archives/*.deb";}' \
            --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
            bookworm "$(buildah mount "$container")" >&2
        buildah commit --quiet "$container" "$image" > /dev/null
    fi
    echo "$image"
}

if docker info > /dev/null 2>&1; then
    exec docker build --tag "$TAG" ${BASE:+--build-arg BASE="$BASE"} "$@" .
fi
if [ -z "${BASE:-}" ]; then
    BASE=$(debian_base)
    set -- --build-arg WEB="$BASE" "$@"
fi
# Docker's format: OCI's has no HEALTHCHECK.
buildah bud --isolation chroot --format docker --tag "$TAG" --build-arg BASE="$BASE" "$@" .
