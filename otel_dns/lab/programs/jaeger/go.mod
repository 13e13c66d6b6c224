// Jaeger is built from here and not by "go install", which refuses its replace directive.
// The tag v1.76.0 holds the program jaeger of version 2.13.
module otel-dns/programs/jaeger

go 1.26.0

require github.com/jaegertracing/jaeger v1.76.0

replace github.com/Shopify/sarama => github.com/Shopify/sarama v1.33.0
