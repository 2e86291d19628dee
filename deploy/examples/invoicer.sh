#!/bin/sh
# The invoicer API: an invoice, held by card. The demo's shop need not sign its requests.
API=${API:-http://127.0.0.1:8000}
SANDBOX=${SANDBOX:-http://127.0.0.1:8090}

SESSION=$(curl -s $API/api/sessions/create -d '{"params":{"clientId":"1"}}' | sed 's/.*"id":"\([^"]*\)".*/\1/')
INVOICE=$(curl -s $API/api/invoicer/invoices/create -d '{"params":{"sessionId":"'$SESSION'","systemType":"ECOM"},
  "data":{"externalId":"order-17","type":"HOLD","description":"tea for two","amount":10000,"email":"bob@example.com",
  "callbackUrl":"'$SANDBOX'/inbox/shop?status=503&times=1"}}' | sed 's/.*"data":{"id":"\([^"]*\)".*/\1/')
echo "a payer would pay it at $API/i/$INVOICE"

# The shop pays it with a card that it has stored.
CARD=$(curl -s $API/api/cards/create -d '{"params":{"sessionId":"'$SESSION'"},
  "data":{"pan":"4111111111111111","expiresAt":"2031-12"}}' | sed 's/.*"id":"\([^"]*\)".*/\1/')
PAYMENT=$(curl -s $API/api/invoicer/payments/create -H 'Prefer: wait=10' -d '{"params":{"sessionId":"'$SESSION'"},
  "data":{"invoiceId":"'$INVOICE'","cardFrom":{"id":"'$CARD'","securityCode":"530"}}}' | sed 's/.*"id":"\([^"]*\)".*/\1/')
curl -s $API/api/invoicer/payments/show -d '{"params":{"sessionId":"'$SESSION'","paymentId":"'$PAYMENT'"}}'

# It takes less than it held, and gives half of that back.
ABOUT='"sessionId":"'$SESSION'","paymentId":"'$PAYMENT'","invoiceId":"'$INVOICE'"'
curl -s $API/api/invoicer/payments/complete -H 'Prefer: wait=10' -d '{"params":{'$ABOUT',"amount":8000}}'
curl -s $API/api/invoicer/payments/reverse -H 'Prefer: wait=10' -d '{"params":{'$ABOUT'},"data":{"amount":4000}}'
curl -s $API/api/invoicer/invoices/show -d '{"params":{"sessionId":"'$SESSION'","id":"'$INVOICE'"}}'

# What the acquirer did, the receipt, and what the shop was told: each first attempt is answered 503.
curl -s "$SANDBOX/acquirer/operations?payment=$PAYMENT"
curl -s -o /dev/null -w 'receipt: %{http_code} %{content_type}\n' $API/api/acquiring/receipts/v2/$PAYMENT.pdf
curl -s $SANDBOX/inbox/shop
