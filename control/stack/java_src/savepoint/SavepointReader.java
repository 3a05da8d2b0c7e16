import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.GlobalConfiguration;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;
import org.apache.flink.core.fs.UnsupportedFileSystemSchemeException;
import org.apache.flink.core.plugin.PluginUtils;
import org.apache.flink.runtime.checkpoint.Checkpoints;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.checkpoint.metadata.MetadataSerializer;
import org.apache.flink.runtime.checkpoint.metadata.MetadataSerializers;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;
import org.apache.flink.runtime.state.filesystem.AbstractFsCheckpointStorageAccess;

/**
 * Prints what a savepoint or checkpoint holds, as one JSON document.
 *
 * <p>It is read as Flink itself reads it before a restore, so what cannot be read here cannot be
 * restored either. A failure is exit code 2 and one line on stderr: a word for the caller, a colon,
 * and the reason, which never names the savepoint: its address may hold a password.
 */
public final class SavepointReader {

    private SavepointReader() {}

    public static void main(String[] arguments) {
        PrintStream answer = System.out;
        PrintStream failure = new PrintStream(System.err, true, StandardCharsets.UTF_8);
        // Flink and its libraries must not write between the lines that the caller reads.
        System.setOut(new PrintStream(OutputStream.nullOutputStream()));
        System.setErr(System.out);
        try {
            answer.println(read(arguments[0]));
            answer.flush();
        } catch (UnreadableException unreadable) {
            failure.println(unreadable.getMessage().lines().findFirst().orElse(""));
            System.exit(2);
        }
    }

    private static String read(String pointer) throws UnreadableException {
        CompletedCheckpointStorageLocation location = locate(pointer);
        try (DataInputStream stream = new DataInputStream(content(location))) {
            if (stream.readInt() != Checkpoints.HEADER_MAGIC_NUMBER) {
                throw new UnreadableException(
                        "foreign", "its file _metadata was not written by Flink");
            }
            int version = stream.readInt();
            CheckpointMetadata metadata =
                    serializer(version)
                            .deserialize(
                                    stream,
                                    SavepointReader.class.getClassLoader(),
                                    location.getExternalPointer());
            return SavepointDocument.of(metadata, version, location.getExternalPointer());
        } catch (UnsupportedOperationException unknown) {
            throw new UnreadableException("version", unknown.getMessage());
        } catch (EOFException cut) {
            throw new UnreadableException("damaged", "its file _metadata is cut off");
        } catch (IOException | RuntimeException | OutOfMemoryError damage) {
            // A wrong byte may also claim an array that no memory holds.
            throw new UnreadableException("damaged", "its file _metadata is damaged: " + damage);
        }
    }

    /** Reads it whole at first: an error after that is one of its bytes, not of the network. */
    private static InputStream content(CompletedCheckpointStorageLocation location)
            throws UnreadableException {
        try (InputStream stream = location.getMetadataHandle().openInputStream()) {
            return new ByteArrayInputStream(stream.readAllBytes());
        } catch (IOException error) {
            throw new UnreadableException("unreachable", String.valueOf(error.getMessage()));
        }
    }

    private static CompletedCheckpointStorageLocation locate(String pointer)
            throws UnreadableException {
        try {
            Configuration settings = GlobalConfiguration.loadConfiguration();
            FileSystem.initialize(
                    settings, PluginUtils.createPluginManagerFromRootFolder(settings));
            return AbstractFsCheckpointStorageAccess.resolveCheckpointPointer(pointer);
        } catch (FileNotFoundException missing) {
            throw new UnreadableException("absent", whatIsMissing(pointer));
        } catch (IOException | RuntimeException error) {
            Throwable cause = error.getCause() == null ? error : error.getCause();
            throw new UnreadableException(
                    "unreachable",
                    cause instanceof UnsupportedFileSystemSchemeException
                            ? "there is no file system for such addresses"
                            : String.valueOf(cause.getMessage()));
        }
    }

    private static String whatIsMissing(String pointer) {
        try {
            Path path = new Path(pointer);
            return path.getFileSystem().exists(path)
                    ? "the folder has no file _metadata"
                    : "there is no such file or folder";
        } catch (IOException error) {
            return "there is no such file or folder";
        }
    }

    private static MetadataSerializer serializer(int version) throws UnreadableException {
        try {
            return MetadataSerializers.getSerializer(version);
        } catch (IllegalArgumentException unknown) {
            throw new UnreadableException(
                    "version", "its format, version " + version + ", is unknown to this Flink");
        }
    }

    /** Why a savepoint cannot be read. */
    private static final class UnreadableException extends Exception {

        private static final long serialVersionUID = 1;

        UnreadableException(String word, String reason) {
            super(word + ": " + reason);
        }
    }
}
