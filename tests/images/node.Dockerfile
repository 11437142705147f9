# A BullMQ worker for the tests. tests/parts/images.py names the base and puts `node` and `interop` beside each other.
FROM scratch
COPY node /usr/local/bin/node
# A Node that was made for another system is found out here.
RUN ["node", "--version"]
COPY interop /app
WORKDIR /app
USER 65532:65532
ENTRYPOINT ["node"]
CMD ["worker.mjs", "emails"]
