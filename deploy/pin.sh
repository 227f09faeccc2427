#!/bin/sh
# Prints, for .env, every image by the digest that its tag has today: what was tried is what runs from then on.
# Needs docker with buildx, and the network. Read the digests, keep .env under version control, run it to update.
set -eu
while read -r name image; do
    digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
    echo "$name=${image%%:*}@$digest"
done <<IMAGES
PYTHON_IMAGE python:3.11-slim
NGINX_IMAGE nginx:1.29-alpine
POSTGRES_IMAGE postgres:17
PROMETHEUS_IMAGE prom/prometheus:v3.5.0
IMAGES
