import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Messages without headers, by Apache's own client: `Produce BROKERS TOPIC FILE MILLIS`.
 *
 * <p>FILE has a partition and a value in base64 a line; after each message so many milliseconds pass.
 */
public class Produce {
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("acks", "all");
        settings.put("key.serializer", ByteArraySerializer.class.getName());
        settings.put("value.serializer", ByteArraySerializer.class.getName());
        List<String> lines = Files.readAllLines(Path.of(arguments[2]));
        long pauseMillis = Long.parseLong(arguments[3]);
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings)) {
            Future<RecordMetadata> last = null;
            for (String line : lines) {
                String[] parts = line.split(" ", -1);
                byte[] value = Base64.getDecoder().decode(parts[1]);
                last = producer.send(
                        new ProducerRecord<>(arguments[1], Integer.parseInt(parts[0]), null, value));
                if (pauseMillis > 0) {
                    Thread.sleep(pauseMillis);
                }
            }
            producer.flush();
            if (last != null) {
                last.get();
            }
        }
    }
}
