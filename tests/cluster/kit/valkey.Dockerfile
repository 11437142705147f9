# Valkey for manifests/examples/redis.yaml. tests/parts/kit_images.py names the base and the folder with the program.
FROM scratch
COPY valkey-server /usr/local/bin/valkey-server
# A program that was made for another system is found out here.
RUN ["valkey-server", "--version"]
USER 65532:65532
CMD ["valkey-server"]
