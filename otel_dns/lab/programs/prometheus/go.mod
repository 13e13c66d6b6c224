// Prometheus is built from here and not by "go install", which refuses its exclude directives.
// The tag v0.307.3 is the program's version 3.7.3.
module otel-dns/programs/prometheus

go 1.26.0

require github.com/prometheus/prometheus v0.307.3

exclude (
	github.com/grpc-ecosystem/grpc-gateway v1.14.7
	github.com/linode/linodego v1.0.0
	google.golang.org/api v0.30.0
)
