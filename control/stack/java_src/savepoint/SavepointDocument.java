import java.io.IOException;
import java.io.StringWriter;
import java.util.Collection;
import java.util.EnumMap;
import java.util.Locale;
import java.util.Map;
import java.util.TreeSet;
import org.apache.flink.runtime.checkpoint.CheckpointProperties;
import org.apache.flink.runtime.checkpoint.MasterState;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.checkpoint.SavepointType;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.OperatorStateHandle;
import org.apache.flink.runtime.state.StateObject;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonGenerator;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.json.JsonWriteFeature;

/** Writes what a savepoint holds as JSON. */
final class SavepointDocument {

    private enum Kind {
        MANAGED_KEYED,
        RAW_KEYED,
        MANAGED_OPERATOR,
        RAW_OPERATOR,
        COORDINATOR,
        /** Records on their way, which an unaligned checkpoint keeps. */
        IN_FLIGHT
    }

    private final JsonGenerator json;
    private final StateFiles files = new StateFiles();

    private SavepointDocument(JsonGenerator json) {
        this.json = json;
    }

    static String of(CheckpointMetadata metadata, int version, String location)
            throws IOException {
        StringWriter text = new StringWriter();
        // ASCII passes through stdout whatever its encoding is.
        JsonFactory factory =
                JsonFactory.builder().enable(JsonWriteFeature.ESCAPE_NON_ASCII).build();
        try (JsonGenerator json = factory.createGenerator(text)) {
            new SavepointDocument(json).write(metadata, version, location);
        }
        return text.toString();
    }

    private void write(CheckpointMetadata metadata, int version, String location)
            throws IOException {
        json.writeStartObject();
        json.writeStringField("location", location);
        json.writeNumberField("checkpoint_id", metadata.getCheckpointId());
        json.writeNumberField("version", version);
        properties(metadata.getCheckpointProperties());
        json.writeArrayFieldStart("operators");
        for (OperatorState operator : metadata.getOperatorStates()) {
            operator(operator);
        }
        json.writeEndArray();
        for (MasterState hook : metadata.getMasterStates()) {
            files.addInline(hook.bytes().length);
        }
        json.writeArrayFieldStart("files");
        for (Map.Entry<String, Long> file : files.sizes().entrySet()) {
            json.writeStartObject();
            json.writeStringField("path", file.getKey());
            json.writeNumberField("size", file.getValue());
            json.writeEndObject();
        }
        json.writeEndArray();
        json.writeNumberField("inline_bytes", files.inlineBytes());
        json.writeEndObject();
    }

    /** Flink before 1.15 wrote none. */
    private void properties(CheckpointProperties properties) throws IOException {
        json.writeObjectFieldStart("properties");
        if (properties != null) {
            json.writeStringField("kind", properties.isSavepoint() ? "savepoint" : "checkpoint");
            if (properties.getCheckpointType() instanceof SavepointType type) {
                json.writeStringField("format", word(type.getFormatType()));
            }
        }
        json.writeEndObject();
    }

    private void operator(OperatorState operator) throws IOException {
        Map<Kind, Long> sizes = new EnumMap<>(Kind.class);
        TreeSet<String> operatorNames = new TreeSet<>();
        KeyedNames keyedNames = new KeyedNames();
        int subtasks = 0;
        if (operator.getCoordinatorState() != null) {
            add(sizes, Kind.COORDINATOR, operator.getCoordinatorState());
        }
        for (OperatorSubtaskState subtask : operator.getStates()) {
            subtasks += subtask.hasState() ? 1 : 0;
            addAll(sizes, Kind.MANAGED_KEYED, subtask.getManagedKeyedState());
            addAll(sizes, Kind.RAW_KEYED, subtask.getRawKeyedState());
            addAll(sizes, Kind.MANAGED_OPERATOR, subtask.getManagedOperatorState());
            addAll(sizes, Kind.RAW_OPERATOR, subtask.getRawOperatorState());
            addAll(sizes, Kind.IN_FLIGHT, subtask.getInputChannelState());
            addAll(sizes, Kind.IN_FLIGHT, subtask.getResultSubpartitionState());
            for (OperatorStateHandle handle : subtask.getManagedOperatorState()) {
                operatorNames.addAll(handle.getStateNameToPartitionOffsets().keySet());
            }
            for (KeyedStateHandle handle : subtask.getManagedKeyedState()) {
                keyedNames.add(handle);
            }
        }
        json.writeStartObject();
        json.writeStringField("id", operator.getOperatorID().toHexString());
        json.writeStringField("uid", operator.getOperatorUid().orElse(null));
        json.writeStringField("name", operator.getOperatorName().orElse(null));
        json.writeNumberField("parallelism", operator.getParallelism());
        json.writeNumberField("max_parallelism", operator.getMaxParallelism());
        json.writeNumberField("subtasks", subtasks);
        json.writeNumberField("bytes", sizes.values().stream().mapToLong(Long::longValue).sum());
        json.writeObjectFieldStart("kinds");
        for (Kind kind : Kind.values()) {
            json.writeNumberField(word(kind), sizes.getOrDefault(kind, 0L));
        }
        json.writeEndObject();
        names("keyed_states", keyedNames.found());
        names("operator_states", operatorNames);
        json.writeEndObject();
    }

    private void add(Map<Kind, Long> sizes, Kind kind, StateObject handle) {
        sizes.merge(kind, handle.getStateSize(), Long::sum);
        files.add(handle);
    }

    private void addAll(
            Map<Kind, Long> sizes, Kind kind, Collection<? extends StateObject> handles) {
        handles.forEach(handle -> add(sizes, kind, handle));
    }

    private void names(String field, Collection<String> names) throws IOException {
        if (names == null) {
            json.writeNullField(field);
            return;
        }
        json.writeArrayFieldStart(field);
        for (String name : names) {
            json.writeString(name);
        }
        json.writeEndArray();
    }

    private static String word(Enum<?> value) {
        return value.name().toLowerCase(Locale.ROOT);
    }
}
