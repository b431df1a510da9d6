# Lambda supports retries, splitting and partial batches for Kafka only in provisioned mode, so the function has pollers of its own. There is
# no on-failure destination: with one, AWS ends unlimited retries after ten, and an outage of the database would move all its clicks
# into a bucket.
resource "aws_lambda_event_source_mapping" "kafka" {
  count = var.kafka_cluster_arn == null ? 0 : 1

  event_source_arn = var.kafka_cluster_arn
  function_name    = aws_lambda_function.function["lambda-kafka"].arn
  topics           = [var.kafka_topic]

  batch_size                         = local.settings.functions["lambda-kafka"].batchSize
  maximum_batching_window_in_seconds = local.settings.functions["lambda-kafka"].batchWindowSeconds
  starting_position                  = local.settings.functions["lambda-kafka"].startingPosition
  function_response_types            = [local.settings.functions["lambda-kafka"].responseType]
  bisect_batch_on_function_error     = local.settings.functions["lambda-kafka"].bisectOnError
  maximum_retry_attempts             = local.settings.functions["lambda-kafka"].retryAttemptsMax
  maximum_record_age_in_seconds      = local.settings.functions["lambda-kafka"].recordAgeMaxSeconds

  # A different group from that of long-lived processors. In one group the two would divide the partitions, each with its own checkpoints.
  amazon_managed_kafka_event_source_config {
    consumer_group_id = local.kafka_group
  }

  provisioned_poller_config {
    minimum_pollers = local.settings.functions["lambda-kafka"].pollersMin
    maximum_pollers = local.settings.functions["lambda-kafka"].pollersMax
  }
}

locals {
  kafka_group = "${var.name}-lambda"
  # The ARNs of topic and group begin like arn:…:cluster/name/id. Empty without a cluster.
  kafka_topic_arn = "${replace(coalesce(var.kafka_cluster_arn, "none"), ":cluster/", ":topic/")}/${var.kafka_topic}"
  kafka_group_arn = "${replace(coalesce(var.kafka_cluster_arn, "none"), ":cluster/", ":group/")}/${local.kafka_group}"
}
