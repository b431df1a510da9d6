locals {
  function_names = { for name in keys(local.functions) : name => "${var.name}-${name}" }
  stream_mapping = aws_lambda_event_source_mapping.kinesis.uuid

  # Each is an alarm when the statistic of `metric` is above `above`, or below `below`, in every one of `periods` times `period_seconds`.
  alarms = {
    iterator-age = {
      description    = "Clicks wait too long in the stream: is lambda-kinesis failing, or too few?"
      metric         = "AWS/Lambda IteratorAge"
      dimensions     = { FunctionName = local.function_names["lambda-kinesis"] }
      statistic      = "Maximum"
      above          = var.iterator_age_alarm_seconds * 1000
      period_seconds = 60
      periods        = 3
    }
    dead-letters = {
      description    = "Rejected records wait for an operator: tollway dead-letters."
      metric         = "Tollway tollway_dead_letters"
      dimensions     = { service = local.function_names["lambda-reconcile"] }
      statistic      = "Maximum"
      above          = 0
      period_seconds = 900
      periods        = 1
    }
    books = {
      description    = "The books do not balance: the log of lambda-reconcile says where."
      metric         = "Tollway tollway_books_problems"
      dimensions     = { service = local.function_names["lambda-reconcile"] }
      statistic      = "Maximum"
      above          = 0
      period_seconds = 900
      periods        = 1
    }
    missing = {
      description    = "Accepted clicks are missing from the ledger: the log of lambda-reconcile says which. While lambda-kinesis is behind, what it has not read yet counts."
      metric         = "Tollway tollway_missing_clicks"
      dimensions     = { service = local.function_names["lambda-reconcile"] }
      statistic      = "Minimum"
      above          = 0
      period_seconds = 900
      periods        = 2
    }
    reconcile = {
      description    = "lambda-reconcile could not look at the books: its log says why."
      metric         = "AWS/Lambda Errors"
      dimensions     = { FunctionName = local.function_names["lambda-reconcile"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 900
      periods        = 1
    }
    database = {
      description    = "Functions do not get at the ledger: its password, its tables, the way to it? Clicks wait."
      metric         = "Tollway tollway_database_up"
      dimensions     = { service = local.function_names["lambda-kinesis"] }
      statistic      = "Maximum"
      below          = 1
      period_seconds = 300
      periods        = 1
    }
    maintenance = {
      description    = "The ledger's partitions are not looked after: clicks will find none."
      metric         = "AWS/Lambda Errors"
      dimensions     = { FunctionName = local.function_names["lambda-maintenance"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 3600
      periods        = 1
    }
    given-up = {
      description    = "Lambda gave records of the stream up and put them into the bucket of failures: tollway failed-batches redrive s3://…"
      metric         = "AWS/Lambda OnFailureDestinationDeliveredEventCount"
      dimensions     = { EventSourceMappingUUID = local.stream_mapping }
      statistic      = "Sum"
      above          = 0
      period_seconds = 300
      periods        = 1
    }
    dropped = {
      description    = "Lambda dropped records of the stream: rewind to before that time while the stream holds them."
      metric         = "AWS/Lambda DroppedEventCount"
      dimensions     = { EventSourceMappingUUID = local.stream_mapping }
      statistic      = "Sum"
      above          = 0
      period_seconds = 300
      periods        = 1
    }
    files = {
      description    = "A file of clicks was given up: its event is in the bucket of failures, and tollway failed-batches redrive charges it from there."
      metric         = "AWS/Lambda AsyncEventsDropped"
      dimensions     = { FunctionName = local.function_names["lambda-file"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 300
      periods        = 1
    }
    failures-lost = {
      description    = "What lambda-file gave up could not even be put into the bucket of failures."
      metric         = "AWS/Lambda DestinationDeliveryFailures"
      dimensions     = { FunctionName = local.function_names["lambda-file"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 300
      periods        = 1
    }
    clicks-unrecorded = {
      description    = "Visitors were redirected, and their clicks are lost: the stream did not take them in time."
      metric         = "Tollway tollway_clicks_unrecorded_total"
      dimensions     = { service = local.function_names["lambda-redirect"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 60
      periods        = 1
    }
    redirect-errors = {
      description    = "lambda-redirect fails: visitors do not get to where they clicked."
      metric         = "AWS/Lambda Errors"
      dimensions     = { FunctionName = local.function_names["lambda-redirect"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 60
      periods        = 3
    }
    redirect-throttles = {
      description    = "lambda-redirect is at its limit of instances: clicks are turned away."
      metric         = "AWS/Lambda Throttles"
      dimensions     = { FunctionName = local.function_names["lambda-redirect"] }
      statistic      = "Sum"
      above          = 0
      period_seconds = 60
      periods        = 1
    }
    click-throttles = {
      description    = "The stream refuses clicks: it needs more shards."
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

# The alarms above are silent when nobody looks; this one is not. Two rounds missed in a row.
resource "aws_cloudwatch_metric_alarm" "nobody_reconciles" {
  alarm_name          = "${var.name}-nobody-reconciles"
  alarm_description   = "lambda-reconcile has not been called for half an hour: is its schedule on?"
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
