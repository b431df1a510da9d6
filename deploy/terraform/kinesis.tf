resource "aws_kinesis_stream" "clicks" {
  name             = "${var.name}-clicks"
  shard_count      = var.stream_shards
  retention_period = local.settings.streamRetentionHours
  encryption_type  = "KMS"
  kms_key_id       = coalesce(var.stream_kms_key_arn, "alias/aws/kinesis")

  stream_mode_details {
    stream_mode = var.stream_shards == null ? "ON_DEMAND" : "PROVISIONED"
  }

  lifecycle {
    # Clicks in the stream are not charged yet.
    prevent_destroy = true
  }
}

# A batch has 1 000 clicks or the clicks of one second, whichever is first: a click waits at most a second, and large batches cost PostgreSQL
# least. Each shard has two concurrent batches. Lambda keeps the order within a partition key; more batches would only wait for the
# locks of the same advertisers.
resource "aws_lambda_event_source_mapping" "kinesis" {
  event_source_arn = aws_kinesis_stream.clicks.arn
  function_name    = aws_lambda_function.function["lambda-kinesis"].arn

  batch_size                         = local.settings.functions["lambda-kinesis"].batchSize
  maximum_batching_window_in_seconds = local.settings.functions["lambda-kinesis"].batchWindowSeconds
  parallelization_factor             = local.settings.functions["lambda-kinesis"].parallelizationFactor
  starting_position                  = local.settings.functions["lambda-kinesis"].startingPosition
  function_response_types            = [local.settings.functions["lambda-kinesis"].responseType]
  bisect_batch_on_function_error     = local.settings.functions["lambda-kinesis"].bisectOnError

  # -1 means no limit for both. With a limit, Lambda discards records that fail for longer, as in an outage of the database. Records that
  # can never be charged do not fail: the handler makes them dead letters.
  maximum_retry_attempts        = local.settings.functions["lambda-kinesis"].retryAttemptsMax
  maximum_record_age_in_seconds = local.settings.functions["lambda-kinesis"].recordAgeMaxSeconds

  # For records that are given up because a limit was set. A queue or a topic would get only their sequence numbers; a bucket gets the
  # records, which can be charged later.
  destination_config {
    on_failure {
      destination_arn = aws_s3_bucket.bucket["failures"].arn
    }
  }

  metrics_config {
    metrics = ["EventCount"]
  }
}
