import type { Admin, ITopicConfig } from 'kafkajs';
import { until } from './until.ts';

/**
 * Makes a topic, and waits until the leader of each partition answers for it. kafkajs's own `waitForLeaders` gives up where a broker
 * has not heard of the topic yet: it tries again for one error only.
 */
export async function makeTopic(admin: Admin, topic: ITopicConfig): Promise<void> {
  await admin.createTopics({ waitForLeaders: false, topics: [topic] });
  const wanted = topic.replicaAssignment?.length ?? topic.numPartitions ?? 1;
  const led = () => admin.fetchTopicOffsets(topic.topic).catch(() => []);
  await until(`the topic ${topic.topic}`, async () => (await led()).length === wanted);
}
