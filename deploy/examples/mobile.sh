#!/bin/sh
# The mobile API: an invoice, paid from a wallet. Amounts are minor units, 810 is the rouble.
API=${API:-http://127.0.0.1:8000}
SANDBOX=${SANDBOX:-http://127.0.0.1:8090}

# The demo's Bob, by the session of his phone.
BOB=99a9cc31-84a7-47f5-8f69-bd00dc91a35a
curl -s $API/mobile-api/account/info/$BOB

# A new phone gets an account.
SHOP=$(curl -s $API/mobile-api/account/add -d '{"type":1,"push_token":"the-shops-phone","locale":"uk"}' |
  sed 's/.*"sessionId":"\([^"]*\)".*/\1/')
RECIPIENT=$(curl -s $API/mobile-api/account/info/$SHOP | sed 's/.*"account_number":"\([^"]*\)".*/\1/')

# It issues an invoice to Bob's account number.
NUMBER=$(curl -s $API/mobile-api/invoice/make -d '{
  "amount": 2500, "currencyCode": 810, "description": "tea for two",
  "items": [{"price": 1500, "name": "tea"}, {"price": 1000, "name": "cake", "selected": true}],
  "payer": "b29de584e7022238bb2d3c4d790e435cbc5faa59", "recipient": "'$SHOP'", "sessionId": "'$SHOP'",
  "nameCheque": "Tea House", "datePayCheque": "2026-11-21T12:00:00"}' | sed 's/.*"number":"\([^"]*\)".*/\1/')
curl -s $API/mobile-api/invoice/info/$NUMBER

# Bob pays, and waits until that has ended.
curl -si $API/mobile-api/invoice/pay -H "Idempotency-Key: pay-$NUMBER" -H 'Prefer: wait=10' -d '{
  "sessionId": "'$BOB'", "number": "'$NUMBER'", "recipient": "'$RECIPIENT'",
  "amount": 2500, "currencyCode": 810, "description": "tea for two"}'

# State 5 is paid. The shop's wallet has the money, and its phone was told.
curl -s $API/mobile-api/invoice/info/$NUMBER
curl -s "$API/mobile-api/account/$SHOP/transfers?limit=1"
curl -s $SANDBOX/fcm/messages
