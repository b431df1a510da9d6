output "public_url" {
  description = "PUBLIC_URL for links, unless you use a domain of your own."
  value       = aws_apigatewayv2_api.redirect.api_endpoint
}

output "function_url" {
  description = "URL of the redirect without the API; null without has_function_url."
  value       = one(aws_lambda_function_url.redirect[*].function_url)
}

output "stream" {
  description = "KINESIS_STREAM for ad servers that are not functions."
  value       = aws_kinesis_stream.clicks.name
}

output "files_bucket" {
  description = "Bucket for files of clicks to charge."
  value       = aws_s3_bucket.bucket["files"].bucket
}

output "failures_bucket" {
  description = "Bucket with the events that Lambda gave up on."
  value       = aws_s3_bucket.bucket["failures"].bucket
}

output "functions" {
  description = "Names of the functions in AWS, by their names in Tollway."
  value       = { for name, function in aws_lambda_function.function : name => function.function_name }
}
