# Two buckets: `files` for files of clicks to charge, `failures` for events that Lambda gave up on.

locals {
  buckets = toset(["failures", "files"])
}

resource "aws_s3_bucket" "bucket" {
  for_each = local.buckets

  # Bucket names are globally unique, so the name has the account and the region.
  bucket = "${var.name}-${each.key}-${data.aws_caller_identity.current.account_id}-${data.aws_region.current.id}"
}

resource "aws_s3_bucket_public_access_block" "bucket" {
  for_each = local.buckets

  bucket                  = aws_s3_bucket.bucket[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "bucket" {
  for_each = local.buckets

  bucket = aws_s3_bucket.bucket[each.key].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_policy" "bucket" {
  for_each = local.buckets

  bucket = aws_s3_bucket.bucket[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "EncryptedConnectionsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.bucket[each.key].arn, "${aws_s3_bucket.bucket[each.key].arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.bucket]
}

# Failures are kept until an operator handles them: they contain clicks that are not charged.
resource "aws_s3_bucket_lifecycle_configuration" "files" {
  bucket = aws_s3_bucket.bucket["files"].id

  rule {
    id     = "charged"
    status = "Enabled"

    filter {}

    expiration {
      days = var.file_retention_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_lambda_permission" "files" {
  function_name  = aws_lambda_function.function["lambda-file"].function_name
  action         = "lambda:InvokeFunction"
  principal      = "s3.amazonaws.com"
  source_arn     = aws_s3_bucket.bucket["files"].arn
  source_account = data.aws_caller_identity.current.account_id
}

resource "aws_s3_bucket_notification" "files" {
  bucket = aws_s3_bucket.bucket["files"].id

  lambda_function {
    lambda_function_arn = aws_lambda_function.function["lambda-file"].arn
    events              = ["s3:ObjectCreated:*"]
  }

  # Files must not arrive before the function has its on-failure destination, or Lambda could drop their events.
  depends_on = [aws_lambda_permission.files, aws_lambda_function_event_invoke_config.function]
}
