package org.apache.flink.metrics.prometheus;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Properties;
import org.apache.flink.metrics.reporter.MetricReporter;
import org.apache.flink.metrics.reporter.MetricReporterFactory;

/** Makes the reporter from its one setting, the port. */
public class LoopbackPrometheusReporterFactory implements MetricReporterFactory {

    @Override
    public MetricReporter createMetricReporter(Properties properties) {
        // Flink hands over what the YAML held: a number, which getProperty would not return.
        int port = Integer.parseInt(String.valueOf(properties.get("port")));
        try {
            return new LoopbackPrometheusReporter(port);
        } catch (IOException error) {
            throw new UncheckedIOException("The metrics port " + port + " is taken.", error);
        }
    }
}
