import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.state.AbstractChannelStateHandle;
import org.apache.flink.runtime.state.AbstractMergedChannelStateHandle;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupsStateHandle;
import org.apache.flink.runtime.state.OperatorStateHandle;
import org.apache.flink.runtime.state.StateObject;
import org.apache.flink.runtime.state.changelog.ChangelogStateBackendHandle;
import org.apache.flink.runtime.state.changelog.ChangelogStateHandleStreamImpl;
import org.apache.flink.runtime.state.changelog.inmemory.InMemoryChangelogStateHandle;
import org.apache.flink.runtime.state.filemerging.EmptySegmentFileStateHandle;
import org.apache.flink.runtime.state.filemerging.SegmentFileStateHandle;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;
import org.apache.flink.runtime.state.memory.ByteStreamStateHandle;

/** Gathers the files that state handles refer to, and what lies in the metadata itself. */
final class StateFiles {

    private final Map<String, Long> sizes = new TreeMap<>();
    private final Set<ByteStreamStateHandle> inline = new HashSet<>();
    private long inlineBytes;

    /** Returns each file with the size that it must at least have. */
    Map<String, Long> sizes() {
        return sizes;
    }

    long inlineBytes() {
        return inlineBytes;
    }

    void addInline(long bytes) {
        inlineBytes += bytes;
    }

    /** Takes a handle apart. The files of an unknown kind would go unseen, so that is an error. */
    void add(StateObject handle) {
        if (handle instanceof FileStateHandle file) {
            add(file.getFilePath(), file.getStateSize());
        } else if (handle instanceof ByteStreamStateHandle bytes) {
            // Several handles may share the same bytes.
            if (inline.add(bytes)) {
                addInline(bytes.getStateSize());
            }
        } else if (handle instanceof SegmentFileStateHandle segment) {
            if (!(segment instanceof EmptySegmentFileStateHandle)) {
                add(segment.getFilePath(), segment.getStartPos() + segment.getStateSize());
            }
        } else if (handle instanceof KeyGroupsStateHandle groups) {
            add(groups.getDelegateStateHandle());
        } else if (handle instanceof OperatorStateHandle operator) {
            add(operator.getDelegateStateHandle());
        } else if (handle instanceof AbstractChannelStateHandle<?> channel) {
            add(channel.getDelegate());
        } else if (handle instanceof AbstractMergedChannelStateHandle<?, ?> channels) {
            add(channels.getDelegate());
        } else if (handle instanceof IncrementalRemoteKeyedStateHandle incremental) {
            incremental.streamSubHandles().forEach(this::add);
        } else if (handle instanceof ChangelogStateBackendHandle changelog) {
            changelog.getMaterializedStateHandles().forEach(this::add);
            changelog.getNonMaterializedStateHandles().forEach(this::add);
        } else if (handle instanceof ChangelogStateHandleStreamImpl changes) {
            changes.getHandlesAndOffsets().forEach(change -> add(change.f0));
        } else if (handle instanceof InMemoryChangelogStateHandle changes) {
            addInline(changes.getStateSize());
        } else {
            throw new UnsupportedOperationException(
                    "it holds a kind of state that is unknown here: "
                            + handle.getClass().getSimpleName());
        }
    }

    private void add(Path path, long size) {
        sizes.merge(path.toString(), size, Math::max);
    }
}
