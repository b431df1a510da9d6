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
    # What is in the stream is not yet in the ledger: it is money.
    prevent_destroy = true
  }
}

# Batches of 1 000 or of one second, whichever is first: a second is what a click may wait for company, and a batch costs
# PostgreSQL as little as it gets. Two at a time from each shard: within a shard lanes by partition key keep
# their order, and more would only queue for the same accounts.
resource "aws_lambda_event_source_mapping" "kinesis" {
  event_source_arn = aws_kinesis_stream.clicks.arn
  function_name    = aws_lambda_function.function["lambda-kinesis"].arn

  batch_size                         = local.settings.functions["lambda-kinesis"].batchSize
  maximum_batching_window_in_seconds = local.settings.functions["lambda-kinesis"].batchWindowSeconds
  parallelization_factor             = local.settings.functions["lambda-kinesis"].parallelizationFactor
  starting_position                  = local.settings.functions["lambda-kinesis"].startingPosition
  function_response_types            = [local.settings.functions["lambda-kinesis"].responseType]
  bisect_batch_on_function_error     = local.settings.functions["lambda-kinesis"].bisectOnError

  # -1 is without end, both. With any limit, Lambda discards what fails for longer than that, and an outage of the
  # database is long. What can never be charged does not get here: the handler makes it a dead letter.
  maximum_retry_attempts        = local.settings.functions["lambda-kinesis"].retryAttemptsMax
  maximum_record_age_in_seconds = local.settings.functions["lambda-kinesis"].recordAgeMaxSeconds

  # Should a record be given up all the same, by a limit that somebody sets: a queue or a topic would be told its number
  # only, a bucket gets the record, to be sent again.
  destination_config {
    on_failure {
      destination_arn = aws_s3_bucket.bucket["failures"].arn
    }
  }

  metrics_config {
    metrics = ["EventCount"]
  }
}
