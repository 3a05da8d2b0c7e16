package org.apache.flink.metrics.prometheus;

import io.prometheus.client.exporter.HTTPServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;

/**
 * Flink's Prometheus reporter, listening on the loopback address only.
 *
 * <p>Flink's own always listens on every address of the machine and has no setting for it. It lies
 * in Flink's package because the registry of its base class is visible there alone.
 */
public class LoopbackPrometheusReporter extends AbstractPrometheusReporter {

    private final HTTPServer server;

    LoopbackPrometheusReporter(int port) throws IOException {
        InetSocketAddress address =
                new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
        server = new HTTPServer(address, registry, true);
    }

    @Override
    public void close() {
        server.stop();
        super.close();
    }
}
