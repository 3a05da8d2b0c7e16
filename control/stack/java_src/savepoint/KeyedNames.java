import java.io.IOException;
import java.io.InputStream;
import java.util.Collection;
import java.util.TreeSet;
import org.apache.flink.core.memory.DataInputViewStreamWrapper;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupsStateHandle;
import org.apache.flink.runtime.state.KeyedBackendSerializationProxy;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.metainfo.StateMetaInfoSnapshot;

/** Finds the names of keyed states, which stand in the state's own files. */
final class KeyedNames {

    private final TreeSet<String> names = new TreeSet<>();
    private boolean complete = true;

    /** Returns the names; null when some cannot be read: a file or a serializer is not there. */
    Collection<String> found() {
        return complete ? names : null;
    }

    void add(KeyedStateHandle handle) {
        StreamStateHandle start = null;
        if (handle instanceof KeyGroupsStateHandle groups) {
            start = groups.getDelegateStateHandle();
        } else if (handle instanceof IncrementalRemoteKeyedStateHandle incremental) {
            start = incremental.getMetaDataStateHandle();
        }
        // A changelog's states stand among its changes.
        complete = complete && start != null && read(start);
    }

    private boolean read(StreamStateHandle start) {
        KeyedBackendSerializationProxy<?> head =
                new KeyedBackendSerializationProxy<>(KeyedNames.class.getClassLoader());
        try (InputStream stream = start.openInputStream()) {
            head.read(new DataInputViewStreamWrapper(stream));
        } catch (IOException | RuntimeException | LinkageError error) {
            return false;
        }
        head.getStateMetaInfoSnapshots().stream()
                .map(StateMetaInfoSnapshot::getName)
                .forEach(names::add);
        return true;
    }
}
