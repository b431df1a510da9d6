import type { Admin, ITopicConfig } from 'kafkajs';
import { until } from './until.ts';

/**
 * Creates a topic, and waits until the leader of each partition answers. kafkajs's own `waitForLeaders` fails if a broker does not know the
 * topic yet, because it retries one kind of error only.
 */
export async function makeTopic(admin: Admin, topic: ITopicConfig): Promise<void> {
  await admin.createTopics({ waitForLeaders: false, topics: [topic] });
  const wanted = topic.replicaAssignment?.length ?? topic.numPartitions ?? 1;
  const led = () => admin.fetchTopicOffsets(topic.topic).catch(() => []);
  await until(`the topic ${topic.topic}`, async () => (await led()).length === wanted);
}
