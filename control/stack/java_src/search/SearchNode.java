import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/**
 * Starts Elasticsearch without its launcher and without its agent.
 *
 * <p>The launcher is a second Java process just to put the options together. The agent guards the
 * node against its plugins, wants a whole JDK, and patches java.base, which rules out a class
 * archive. This starts the same node without them: there are no plugins here but the
 * distribution's own.
 */
public final class SearchNode {

    private SearchNode() {}

    public static void main(String[] arguments) throws Exception {
        LogConfigurator.configureESLogging();
        Path conf = Path.of(arguments[0]);
        Settings settings =
                Settings.builder()
                        .loadFromPath(conf.resolve("elasticsearch.yml"))
                        .put("path.home", System.getProperty("es.path.home"))
                        .build();
        Environment environment = new Environment(settings, conf);
        PluginsLoader plugins =
                PluginsLoader.createPluginsLoader(
                        PluginsLoader.loadModulesBundles(environment.modulesDir(), false),
                        Set.of(),
                        Map.of(),
                        true);
        Node node = new Node(environment, plugins);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
        node.start();
        // The node's own threads are daemons; the process ends by a signal.
        new CountDownLatch(1).await();
    }

    private static void close(Node node) {
        try {
            node.prepareForClose();
            node.close();
        } catch (IOException error) {
            System.err.println("The node did not close cleanly: " + error);
        }
    }
}
