package invoicer

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// The examples of the original's document of invoices/create, as they stand there. Their
// sessions and their card are the demo's.
var createExamples = map[string]string{
	"ECOM": `{ "params": { "sessionId": "613f7045-03a2-4bbb-8ff8-e2202e71d41f", "systemType": "ECOM" }, "data": { "externalId": "1500383075", "reusability": false, "description": "Test payment", "amount": 100, "redirectUrl": "https://uapay.ua", "type": "PAY", "extraInfo":"{\"phoneFrom\":\"380971112233\",\"phoneTo\":\"380631112233\",\"cardToId\":\"216f8390-9abc-428d-89d6-7be50183afb5\"}" } }`,

	"multiservice": `{ "params": { "sessionId": "613f7045-03a2-4bbb-8ff8-e2202e71d41f", "systemType": "ECOM" }, "data": { "externalId": "1500383075", "reusability": false, "description": "Description of the purpose of the payment", "redirectUrl": "https://uapay.ua", "type": "PAY", "services": [ { "serviceId": 1, "destination": "Purpose of payment 1", "destinationName": "Recipient1", "description": "Description of the purpose of the payment (displayed in the receipt)", "amount": 1000 }, { "serviceId": 2, "destination": "Purpose of payment 2", "destinationName": "Recipient2", "description": "Description of the purpose of the payment (displayed in the receipt)", "amount": 2000 } ] } }`,

	"dynamic": `{ "params": { "sessionId": "613f7045-03a2-4bbb-8ff8-e2202e71d41f", "systemType": "ECOM" }, "data": { "externalId": "1500383075", "reusability": false, "description": "Test payment", "redirectUrl": "https://uapay.ua", "type": "PAY", "services": [ { "serviceId": 1, "iban": "UA461234560000026002001304675", "okpo": "12345678", "destination": "Administrative fee1", "destinationName": "Recipient1", "bankName": "PJSC Bank", "description": "Administrative fee1", "amount": 1000 } ] } }`,

	"recurrent": `{ "params":{ "sessionId":"613f7045-03a2-4bbb-8ff8-e2202e71d41f", "systemType":"ECOM" }, "data":{ "externalId":"1500383075", "description":"Test payment", "amount":15000, "type":"SUBSCRIBE", "recurringInterval":30, "expiresAt": 1539345600000 } }`,

	"open amount": `{ "params": { "sessionId": "613f7045-03a2-4bbb-8ff8-e2202e71d41f", "systemType": "ECOM" }, "data": { "externalId": "1500383075", "reusability": false, "description": "Test payment with open amount", "redirectUrl": "https://uapay.ua", "type": "PAY", "extraInfo":"{\"phoneFrom\":\"380971112233\",\"phoneTo\":\"380631112233\",\"cardToId\":\"216f8390-9abc-428d-89d6-7be50183afb5\"}" } }`,

	"P2P": `{ "params": { "sessionId": "000ab70b-ef76-4385-a0f5-a98693c716f1", "systemType": "P2P" }, "data": { "type": "PAY", "externalId": "1500383075", "cardTo": { "id": "b8220f46-8c28-4068-9488-2e1b37359b06" }, "reusability": false, "description": "Test payment", "amount": 100, "redirectUrl": "https://uapay.ua" } }`,
}

// shownExamples are what invoices/show says of each.
var shownExamples = map[string]string{
	"ECOM": `{"amount":100,"systemType":"ECOM","description":"Test payment","extraInfo":{"phoneFrom":"380971112233","phoneTo":"380631112233","cardToId":"216f8390-9abc-428d-89d6-7be50183afb5","origin":"invoicer"}}`,

	"multiservice": `{"amount":3000,"description":"Description of the purpose of the payment","serviceData":[
		{"serviceId":1,"destination":"Purpose of payment 1","destinationName":"Recipient1","description":"Description of the purpose of the payment (displayed in the receipt)","amount":1000,"commission":120},
		{"serviceId":2,"destination":"Purpose of payment 2","destinationName":"Recipient2","description":"Description of the purpose of the payment (displayed in the receipt)","amount":2000,"commission":140}]}`,

	"dynamic": `{"amount":1000,"serviceData":[{"serviceId":1,"destination":"Administrative fee1","destinationName":"Recipient1","account":"UA461234560000026002001304675","mfo":"123456","okpo":"12345678","bankName":"PJSC Bank","description":"Administrative fee1","amount":1000,"commission":120}]}`,

	"recurrent": `{"amount":15000,"type":"SUBSCRIBE","redirectUrl":null}`,

	"open amount": `{"amount":null,"description":"Test payment with open amount","extraInfo":{"phoneFrom":"380971112233","phoneTo":"380631112233","cardToId":"216f8390-9abc-428d-89d6-7be50183afb5","origin":"invoicer"}}`,

	"P2P": `{"amount":100,"systemType":"P2P","cardToId":"b8220f46-8c28-4068-9488-2e1b37359b06"}`,
}

// newDemo is the API with the demo loaded.
func newDemo(t *testing.T) *market {
	t.Helper()
	m := newMarket(t)
	if err := m.LoadDemo(t.Context(), acquirertest.TokenOf); err != nil {
		t.Fatal(err)
	}
	m.session = "00684a7f-3d5c-43f4-b4d1-ea994226be9c"
	var err error
	if m.shop, err = m.Store.Shop(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTheOriginalsExamplesOfCreate(t *testing.T) {
	t.Parallel()
	m := newDemo(t)
	for name, body := range createExamples {
		if name == "recurrent" { // its expiresAt is of 2018
			if got := m.post("invoicer/invoices/create", body).outcome(); got != `FORMAT_ERROR {"data":{"expiresAt":"RANGE"}}` {
				t.Errorf("a subscription that ended in 2018 is answered %s", got)
			}
			body = strings.Replace(body, "1539345600000", "1900000000000", 1)
		}
		var made created
		m.post("invoicer/invoices/create", body).read(t, &made)
		if made.PaymentPageURL != "https://pay.test/i/"+made.ID || made.PaymentPageURLQR != "https://pay.test/api/qr/invoicer/"+made.ID {
			t.Errorf("%s: made %+v", name, made)
		}
		want := map[string]any{
			"systemType": "ECOM", "description": "Test payment", "type": "PAY", "serviceData": []any{}, "redirectUrl": "https://uapay.ua", "extraInfo": map[string]any{"origin": "invoicer"},
			"id": made.ID, "externalId": "1500383075", "clientId": 1.0, "clientName": "UAPAY", "reusability": false, "invoiceStatus": "ACTIVE",
			"callbackUrl": nil, "email": nil, "cardToId": nil, "payments": []any{}, "recurringData": map[string]any{},
		}
		if err := json.Unmarshal([]byte(shownExamples[name]), &want); err != nil {
			t.Fatal(err)
		}
		if name == "recurrent" {
			want["recurringData"] = map[string]any{"endSubscribeDate": "2030-03-17"}
		}
		var shown map[string]any
		m.ask("invoicer/invoices/show", `"id":"`+made.ID+`"`, ``).read(t, &shown)
		delete(shown, "invoiceNumber")
		delete(shown, "createdAt")
		if diff := cmp.Diff(want, shown); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
	m.CheckInvariants()
}

// The commission of the original's sample.
func TestTheOriginalsExampleOfShowCommission(t *testing.T) {
	t.Parallel()
	m := newDemo(t)
	var open created
	m.post("invoicer/invoices/create", createExamples["open amount"]).read(t, &open)
	got := m.ask("invoicer/payments/showCommission", `"invoiceId":"`+open.ID+`"`, `"amount":50000`)
	if string(got.Data) != `{"commission":{"percents":2,"fixed":100},"commissionAmount":1100}` {
		t.Errorf("answered %s", got.Data)
	}
}

// Money goes from the payer's card to the one that a P2P invoice names.
func TestTheOriginalsExampleOfP2PIsPaid(t *testing.T) {
	t.Parallel()
	m := newDemo(t)
	var made created
	m.post("invoicer/invoices/create", createExamples["P2P"]).read(t, &made)
	a := m.ask("invoicer/payments/create", ``, `"invoiceId":"`+made.ID+`","cardFrom":{"id":"9ac4999f-79ea-40f0-9227-ef5417573c5b","securityCode":"530"},"currency":980`)
	operation, _ := store.ParseOperationID(a.header.Get("Operation-Id"))
	call := m.Call(m.Ref(operation))
	m.FinishWith(store.CallResult{CardCall: call, Outcome: store.Approved, Reference: "r", SendOperationID: "send", ReceiveOperationID: "receive"})
	var p shownAlone
	m.ask("invoicer/payments/show", `"paymentId":"`+a.id(t)+`"`, ``).read(t, &p)
	if p.CardToID != "b8220f46-8c28-4068-9488-2e1b37359b06" || p.CardToMasked != "4111111111" || p.CardFromMasked != "5269615505" ||
		p.SendOperationID != "send" || p.ReceiveOperationID != "receive" || p.Status != "FINISHED" || p.Amount != 100 || p.Commission != 102 {
		t.Errorf("it is shown as %+v", p)
	}
	m.CheckInvariants()
}

// shownExample is the original's answer, as it stands there.
const shownExample = `{
    "status": 1,
    "data": {
        "id": "7757c47c-8d70-4089-ab6e-82515f8f6f07",
        "invoiceNumber": 1870,
        "clientId": 1,
        "clientName": "UAPAY",
        "description": "Administrative fee for state registration of changes to information in the USR; Informational services",
        "systemType": "ECOM",
        "amount": 13500,
        "reusability": false,
        "invoiceStatus": "ACTIVE",
        "type": "PAY",
        "serviceData": [
            {
                "serviceId": 1,
                "destination": "Administrative fee for state registration of changes to information in the USR",
                "destinationName": "Treasury",
                "description": "Administrative fee for state registration of changes to information in the USR",
                "amount": 7800,
                "commission": 534
            },
            {
                "serviceId": 2,
                "destination": "Administrative fee for state registration of changes to information in the USR",
                "destinationName": "Online House of Justice",
                "description": "Administrative fee for state registration of changes to information in the USR",
                "amount": 4200,
                "commission": 30
            },
            {
                "serviceId": 4,
                "destination": "Informational services",
                "destinationName": "Online House of Justice",
                "description": "Informational services",
                "amount": 1500,
                "commission": 0
            }
        ],
        "redirectUrl": "http://uapay.ua/",
        "callbackUrl": "http://example.com/",
        "extraInfo": {
            "origin": "invoicer"
        },
        "cardToId": null,
        "createdAt": "2018-11-30T11:42:39.000Z",
        "payments": [
            {
                "invoiceId": "7757c47c-8d70-4089-ab6e-82515f8f6f07",
                "paymentId": "b3b67d90-a0a7-4861-a3bb-b91889452823",
                "number": 2175,
                "receiptId": "E76EZFQFK2FE",
                "amount": 13500,
                "commission": 564,
                "currency": "980",
                "cardFromMasked": "5269615505",
                "cardFromId": "9ac4999f-79ea-40f0-9227-ef5417573c5b",
                "paymentStatus": "FINISHED",
                "status": "FINISHED",
                "finishedAt": "2018-11-30T11:45:37.000Z",
                "createdAt": "2018-11-30T11:44:38.000Z",
                "updatedAt": "2018-11-30T11:45:37.000Z",
                "chequeLink": "https://api.zero.uapay.ua/api/acquiring/receipts/v2/b3b67d90-a0a7-4861-a3bb-b91889452823.pdf"
            }
        ],
        "recurringData": {}
    }
}`

// What the example of show asks for is another invoice than its answer shows: the demo has
// both, alike but for ids and numbers.
func TestTheOriginalsExampleOfShow(t *testing.T) {
	t.Parallel()
	m := newDemo(t)
	receipts := strings.NewReplacer("https://api.zero.uapay.ua/", "https://pay.test/")
	for name, body := range map[string]string{
		"as it stands there": `{
    "params": {
        "sessionId": "00684a7f-3d5c-43f4-b4d1-ea994226be9c",
        "id": "5ecb426d-185b-40e8-857a-e40c9864e5de"
    }
}`,
		"about the invoice of the answer": `{"params":{"sessionId":"00684a7f-3d5c-43f4-b4d1-ea994226be9c","id":"7757c47c-8d70-4089-ab6e-82515f8f6f07"}}`,
	} {
		var want struct{ Data map[string]any }
		if err := json.Unmarshal([]byte(receipts.Replace(shownExample)), &want); err != nil {
			t.Fatal(err)
		}
		var shown map[string]any
		m.post("invoicer/invoices/show", body).read(t, &shown)
		if name == "as it stands there" {
			alike := func(invoice map[string]any) {
				payment := invoice["payments"].([]any)[0].(map[string]any)
				for _, own := range []string{"invoiceId", "paymentId", "number", "receiptId", "chequeLink"} {
					delete(payment, own)
				}
				delete(invoice, "id")
				delete(invoice, "invoiceNumber")
			}
			alike(want.Data)
			alike(shown)
		}
		for key, value := range want.Data { // ours may say more
			if diff := cmp.Diff(value, onlyWanted(value, shown[key])); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", name, key, diff)
			}
		}
	}
}

// onlyWanted leaves out what the original's objects do not have.
func onlyWanted(want, got any) any {
	switch want := want.(type) {
	case map[string]any:
		got, _ := got.(map[string]any)
		kept := map[string]any{}
		for key, value := range got {
			if _, wanted := want[key]; wanted {
				kept[key] = onlyWanted(want[key], value)
			}
		}
		return kept
	case []any:
		got, _ := got.([]any)
		kept := []any{}
		for i, value := range got {
			if i < len(want) {
				value = onlyWanted(want[i], value)
			}
			kept = append(kept, value)
		}
		return kept
	}
	return got
}
