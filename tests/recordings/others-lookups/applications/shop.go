// GETs each URL with otelhttptrace, spans by OTLP.
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/httptrace/otelhttptrace"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func main() {
	ctx := context.Background()
	exp, err := otlptracegrpc.New(ctx)
	if err != nil {
		panic(err)
	}
	res, _ := resource.New(ctx, resource.WithFromEnv(), resource.WithTelemetrySDK())
	tp := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exp), sdktrace.WithResource(res))
	otel.SetTracerProvider(tp)
	tr := otel.Tracer("shop")
	for _, u := range os.Args[1:] {
		c, span := tr.Start(ctx, "GET "+u)
		c = httptrace.WithClientTrace(c, otelhttptrace.NewClientTrace(c))
		c, cancel := context.WithTimeout(c, 4*time.Second)
		req, _ := http.NewRequestWithContext(c, "GET", u, nil)
		client := &http.Client{Transport: &http.Transport{}}
		r, err := client.Do(req)
		if err != nil {
			fmt.Println(u, err)
		} else {
			fmt.Println(u, r.Status)
			r.Body.Close()
		}
		cancel()
		span.End()
	}
	if err := tp.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
}
