locals {
  function_names = { for name in keys(local.functions) : name => "${var.name}-${name}" }
  stream_mapping = aws_lambda_event_source_mapping.kinesis.uuid

  # An alarm starts when the statistic of `metric` is above `above`, or below `below`, in each of `periods` periods of `period_seconds`.
  alarms = {
    iterator-age = {
      description    = "Clicks wait too long in the stream. Check whether lambda-kinesis fails, or add shards."
      metric         = "AWS/Lambda IteratorAge"
      dimensions     = { FunctionName = local.function_names["lambda-kinesis"] }
      statistic      = "Maximum"
      above          = var.iterator_age_alarm_seconds * 1000
      period_seconds = 60
      periods        = 3
    }
    dead-letters = {
      description    = "Rejected records wait for an operator. See tollway dead-letters list."
      metric         = "Tollway tollway_dead_letters"
      dimensions     = { service = local.function_names["lambda-reconcile"] }
      statistic      = "Maximum"
      above          = 0
      period_seconds = 900
      periods        = 1
    }
    books = {
      description    = "The books do not balance. The log of lambda-reconcile lists the differences."
      metric         = "Tollway tollway_books_problems"
      dimensions     = { service = local.function_names["lambda-reconcile"] }
      statistic      = "Maximum"
      above          = 0
      period_seconds = 900
      periods        = 1
    }
    missing = {
      description    = "Accepted clicks are missing from the ledger. The log of lambda-reconcile lists them. While lambda-kinesis is behind, clicks that it has not read yet count as missing."
      metric         = "Tollway tollway_missing_clicks"
      dimensions     = { service = local.function_names["lambda-reconcile"] }
      statistic      = "Minimum"
      above          = 0
      period_seconds = 900
      periods        = 2
    }
    reconcile = {
      description    = "lambda-reconcile could not reconcile. Its log has the error."
      metric         = "AWS/Lambda Errors"
      dimensions     = { FunctionName = local.function_names["lambda-reconcile"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 900
      periods        = 1
    }
    database = {
      description    = "Functions cannot reach the ledger, so clicks wait. Check the password, the tables and the network."
      metric         = "Tollway tollway_database_up"
      dimensions     = { service = local.function_names["lambda-kinesis"] }
      statistic      = "Maximum"
      below          = 1
      period_seconds = 300
      periods        = 1
    }
    maintenance = {
      description    = "Maintenance of the ledger fails. Clicks are rejected once partitions are missing."
      metric         = "AWS/Lambda Errors"
      dimensions     = { FunctionName = local.function_names["lambda-maintenance"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 3600
      periods        = 1
    }
    given-up = {
      description    = "Lambda gave up on records of the stream and wrote them to the bucket of failures. Charge them with tollway failed-batches redrive s3://…"
      metric         = "AWS/Lambda OnFailureDestinationDeliveredEventCount"
      dimensions     = { EventSourceMappingUUID = local.stream_mapping }
      statistic      = "Sum"
      above          = 0
      period_seconds = 300
      periods        = 1
    }
    dropped = {
      description    = "Lambda dropped records of the stream. Run tollway rewind to a time before that while the stream still has them."
      metric         = "AWS/Lambda DroppedEventCount"
      dimensions     = { EventSourceMappingUUID = local.stream_mapping }
      statistic      = "Sum"
      above          = 0
      period_seconds = 300
      periods        = 1
    }
    files = {
      description    = "Lambda gave up on a file of clicks. Its event is in the bucket of failures. Charge it with tollway failed-batches redrive."
      metric         = "AWS/Lambda AsyncEventsDropped"
      dimensions     = { FunctionName = local.function_names["lambda-file"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 300
      periods        = 1
    }
    failures-lost = {
      description    = "Lambda could not write a failed event of lambda-file to the bucket of failures."
      metric         = "AWS/Lambda DestinationDeliveryFailures"
      dimensions     = { FunctionName = local.function_names["lambda-file"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 300
      periods        = 1
    }
    clicks-unrecorded = {
      description    = "Visitors were redirected, but their clicks are lost, because the stream did not accept them in time."
      metric         = "Tollway tollway_clicks_unrecorded_total"
      dimensions     = { service = local.function_names["lambda-redirect"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 60
      periods        = 1
    }
    redirect-errors = {
      description    = "lambda-redirect fails, so visitors get no redirect."
      metric         = "AWS/Lambda Errors"
      dimensions     = { FunctionName = local.function_names["lambda-redirect"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 60
      periods        = 3
    }
    redirect-throttles = {
      description    = "lambda-redirect is at its limit of instances, so clicks are refused."
      metric         = "AWS/Lambda Throttles"
      dimensions     = { FunctionName = local.function_names["lambda-redirect"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 60
      periods        = 1
    }
    click-throttles = {
      description    = "The stream refuses clicks. Add shards."
      metric         = "AWS/Kinesis WriteProvisionedThroughputExceeded"
      dimensions     = { StreamName = aws_kinesis_stream.clicks.name }
      statistic      = "Sum"
      above          = 0
      period_seconds = 60
      periods        = 3
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "alarm" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = split(" ", each.value.metric)[0]
  metric_name         = split(" ", each.value.metric)[1]
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = can(each.value.below) ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = try(each.value.below, each.value.above)
  period              = each.value.period_seconds
  evaluation_periods  = each.value.periods
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}

# The alarms above need metrics of lambda-reconcile. This alarm starts when two runs in a row did not happen.
resource "aws_cloudwatch_metric_alarm" "reconcile_not_called" {
  alarm_name          = "${var.name}-reconcile-not-called"
  alarm_description   = "lambda-reconcile was not called for half an hour. Check its schedule."
  namespace           = "AWS/Lambda"
  metric_name         = "Invocations"
  dimensions          = { FunctionName = local.function_names["lambda-reconcile"] }
  statistic           = "Sum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 1800
  evaluation_periods  = 1
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}
