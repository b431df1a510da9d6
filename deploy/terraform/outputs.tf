output "public_url" {
  description = "PUBLIC_URL for printed links, unless a domain of yours points to it."
  value       = aws_apigatewayv2_api.redirect.api_endpoint
}

output "function_url" {
  description = "The redirect without the API; null without has_function_url."
  value       = one(aws_lambda_function_url.redirect[*].function_url)
}

output "stream" {
  description = "KINESIS_STREAM for ad servers that are not functions."
  value       = aws_kinesis_stream.clicks.name
}

output "files_bucket" {
  description = "Where a file of clicks is put to be charged."
  value       = aws_s3_bucket.bucket["files"].bucket
}

output "failures_bucket" {
  description = "Where Lambda puts what it gave up."
  value       = aws_s3_bucket.bucket["failures"].bucket
}

output "functions" {
  description = "Names of the functions in AWS, by their own."
  value       = { for name, function in aws_lambda_function.function : name => function.function_name }
}
