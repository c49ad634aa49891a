# eventstore in a container.
#
#   docker build -t eventstore .                      the official image of PostgreSQL, with the extension
#   docker build -t eventstore --target files .       the extension's files alone, for image volumes of
#                                                     CloudNativePG (PostgreSQL 18 and later)
#
# --build-arg PG_MAJOR=17 chooses the server, DEBIAN_CODENAME the release that its image is made of.

ARG PG_MAJOR=18
ARG DEBIAN_CODENAME=trixie

FROM postgres:${PG_MAJOR}-${DEBIAN_CODENAME} AS build
ARG PG_MAJOR
RUN apt-get update \
	&& apt-get install -y --no-install-recommends gcc libc6-dev make "postgresql-server-dev-$PG_MAJOR" \
	&& rm -rf /var/lib/apt/lists/*
WORKDIR /usr/src/eventstore
COPY . .
# Once as the server's own folders want it, once as an image volume is laid out.
RUN set -eu; \
	PG_CONFIG="/usr/lib/postgresql/$PG_MAJOR/bin/pg_config"; \
	make PG_CONFIG="$PG_CONFIG" with_llvm=no; \
	make PG_CONFIG="$PG_CONFIG" with_llvm=no install DESTDIR=/server; \
	mkdir -p /files/lib /files/share /files/licenses/eventstore; \
	cp "/server$("$PG_CONFIG" --pkglibdir)"/*.so /files/lib/; \
	cp -r "/server$("$PG_CONFIG" --sharedir)/extension" /files/share/; \
	cp LICENSE /files/licenses/eventstore/

FROM scratch AS files
COPY --from=build /files/ /
USER 65532:65532

FROM postgres:${PG_MAJOR}-${DEBIAN_CODENAME} AS server
COPY --from=build /server/ /
